import Foundation
import Testing

@testable import Transport
@testable import TransportTesting

/// A full descriptor table, each case in a process of its own, since other tests need descriptors meanwhile.
@Suite("No descriptor left")
struct DescriptorExhaustionTests {
    @Test(
        "a listener rests instead of spinning, and accepts every client when there are descriptors again",
        arguments: TransportMode.available)
    func listenerRests(mode: TransportMode) async {
        await #expect(processExitsWith: .success) { [mode] in
            let fd = try Socket.listen(.anyLoopback, backlog: 64)
            let address = try #require(Socket.localAddress(of: fd))
            let clients = try (0..<20).map { _ in try Peer(connectingTo: address) }
            let accepted = Recorder<Int32>()
            let counts = Recorder<UInt64>()
            let thread = try LoopThread(mode)
            let table = FullTable()
            try thread.on { loop in
                let listener = Listener(loop, fd: fd) { accepted.record($0) }
                listener.resume()
                let timer = LoopTimer(loop) { counts.record(listener.exhaustedCount) }
                timer.arm(after: Listener.exhaustedPause * 4)
            }
            // Once at first and once after each rest, of which four can have begun.
            let count = try counts.next()
            #expect((1...5).contains(count))
            #expect(accepted.all.isEmpty)
            table.release()
            try accepted.wait { $0.count == 20 }
            withExtendedLifetime(clients) {}
            try thread.join()
        }
    }

    @Test("a drain waits for descriptors and loses no client", arguments: TransportMode.available)
    func drainWaits(mode: TransportMode) async {
        await #expect(processExitsWith: .success) { [mode] in
            let fd = try Socket.listen(.anyLoopback, backlog: 64)
            let address = try #require(Socket.localAddress(of: fd))
            let clients = try (0..<20).map { _ in try Peer(connectingTo: address) }
            let accepted = Recorder<Int32>()
            let exhausted = Recorder<UInt64>()
            let drained = Recorder<Int>()
            let thread = try LoopThread(mode)
            let table = FullTable()
            try thread.on { loop in
                let listener = Listener(loop, fd: fd) { accepted.record($0) }
                listener.drainAndClose { drained.record(accepted.all.count) }
                exhausted.record(listener.exhaustedCount)
            }
            #expect(try exhausted.next() == 1)
            #expect(accepted.all.isEmpty && drained.all.isEmpty)
            table.release()
            #expect(try drained.next() == 20)
            withExtendedLifetime(clients) {}
            try thread.join()
        }
    }

    @Test("a connector fails with EMFILE from the loop, not from within connect()", arguments: TransportMode.available)
    func connectorFails(mode: TransportMode) async {
        await #expect(processExitsWith: .success) { [mode] in
            let thread = try LoopThread(mode)
            let outcomes = Recorder<Result<Int32, ConnectError>>()
            let table = FullTable()
            try thread.on { loop in
                let connector = Connector.connect(loop, to: .ipv4(0x7f00_0001, port: 9), timeout: .seconds(5)) {
                    outcomes.record($0)
                }
                #expect(connector == nil && outcomes.all.isEmpty)
            }
            #expect(try outcomes.next() == .failure(.failed(SystemError("socket", code: EMFILE))))
            table.release()
            try thread.join()
        }
    }

    @Test(
        "a loop that cannot have its ring says which call failed, and why", .needsRing,
        arguments: TransportMode.available.filter(\.hasRing))
    func noRing(mode: TransportMode) async {
        await #expect(processExitsWith: .success) { [mode] in
            let table = FullTable()
            let error = #expect(throws: SystemError.self) { try EventLoop(mode.configuration) }
            table.release()
            #expect(error?.code == EMFILE)
            // The test library may give one descriptor back meanwhile: then it is the ring that has none.
            #expect(["eventfd", "io_uring_setup"].contains(error?.call), "\(String(describing: error))")
        }
    }
}
