import Foundation
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Event loop: work behind the completions, and at the end of a turn")
struct DeferredTaskTests {
    @Test(
        "work behind the completions comes once for all of a turn, when the last has been told",
        arguments: TransportMode.available)
    func behindCompletions(mode: TransportMode) throws {
        let log = Recorder<String>()
        let server = try TestServer(mode) { connection in
            connection.onReceived = { connection, _ in
                if log.all.last != "received" { connection.loop.executeAfterCompletions { log.record("after") } }
                log.record("received")
            }
        }
        let peers = try (0..<10).map { _ in try Peer(connectingTo: server.address) }
        try server.connections.wait { $0.count == 10 }
        try server.thread.settle()
        // While the loop is held up, all of them send: their bytes come in one turn.
        try server.thread.on { _ in
            for peer in peers { #expect(throws: Never.self) { try peer.send("x") } }
        }
        try log.wait { $0.count == 11 }
        #expect(log.all == Array(repeating: "received", count: 10) + ["after"])
        try server.join()
    }

    @Test("it comes before timers, tasks and what is for the end of the turn", arguments: TransportMode.available)
    func order(mode: TransportMode) throws {
        let thread = try LoopThread(mode)
        let log = Recorder<Int>()
        try thread.on { loop in
            loop.remote.execute { _ in log.record(4) }
            LoopTimer(loop) {
                log.record(3)
                loop.executeAtEndOfTurn { log.record(5) }
            }.arm(after: .zero)
            loop.executeAfterCompletions { log.record(1) }
            loop.executeAfterCompletions { log.record(2) }
        }
        try log.wait { $0.count == 5 }
        #expect(log.all == [1, 2, 3, 4, 5])
        try thread.join()
    }

    @Test("asked for by itself, it comes in the next turn", arguments: TransportMode.available)
    func reentrant(mode: TransportMode) throws {
        let thread = try LoopThread(mode)
        let log = Recorder<String>()
        try thread.on { loop in
            loop.executeAfterCompletions {
                log.record("first")
                loop.executeAfterCompletions { log.record("second") }
                loop.executeAtEndOfTurn {
                    log.record("end of the first's turn")
                    loop.executeAtEndOfTurn { log.record("end of the second's turn") }
                }
            }
        }
        try log.wait { $0.count == 4 }
        #expect(log.all == ["first", "end of the first's turn", "second", "end of the second's turn"])
        try thread.join()
    }

    @Test(
        "asked for at the end of a turn, or when a connection sends or is let go of, it comes though nothing wakes the loop",
        arguments: TransportMode.available)
    func late(mode: TransportMode) throws {
        let log = Recorder<String>()
        let server = try TestServer(mode) { connection in
            connection.onOutputFinished = { $0.loop.executeAfterCompletions { log.record("sent") } }
            connection.onClosed = { $0.loop.executeAfterCompletions { log.record("closed") } }
        }
        let peer = try Peer(connectingTo: server.address)
        let box = try server.connections.next()
        server.thread.remote.execute { loop in
            loop.executeAtEndOfTurn { loop.executeAfterCompletions { log.record("end of turn") } }
        }
        #expect(try log.next() == "end of turn")
        server.thread.remote.execute { _ in box.connection.finishOutput() }
        #expect(try log.next() == "sent")
        server.thread.remote.execute { _ in box.connection.close() }
        #expect(try log.next() == "closed")
        #expect(try peer.receiveToEnd() == [])
        try server.join()
    }

    @Test("asked for while the loop stops, it still comes", arguments: TransportMode.available)
    func stopping(mode: TransportMode) throws {
        let log = Recorder<String>()
        let server = try TestServer(mode) { connection in
            connection.onClosed = { $0.loop.executeAfterCompletions { log.record("after") } }
        }
        let peer = try Peer(connectingTo: server.address)
        try server.connections.wait { !$0.isEmpty }
        try server.join()
        #expect(log.all == ["after"])
        withExtendedLifetime(peer) {}
    }

    @Test(
        "timers of one deadline fire in the order in which they were armed the last time",
        arguments: TransportMode.available)
    func oneDeadline(mode: TransportMode) throws {
        let thread = try LoopThread(mode)
        let log = Recorder<Int>()
        try thread.on { loop in
            let deadline = loop.now + .milliseconds(20)
            let timers = (0..<200).map { number in LoopTimer(loop) { log.record(number) } }
            for timer in timers.reversed() { timer.arm(at: deadline) }
            // Cancelled in between, they must not disturb the others.
            for timer in timers where timer.deadline == deadline && timers.firstIndex(where: { $0 === timer })! % 3 == 0
            {
                timer.cancel()
            }
            for timer in timers[100...] { timer.arm(at: deadline) }
            LoopTimer(loop) { log.record(-1) }.arm(at: deadline + .nanoseconds(1))
        }
        try log.wait { $0.last == -1 }
        #expect(log.all == (0..<100).reversed().filter { $0 % 3 != 0 } + Array(100..<200) + [-1])
        try thread.join()
    }
}
