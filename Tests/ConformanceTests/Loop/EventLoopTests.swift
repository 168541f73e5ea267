import Foundation
import Synchronization
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Event loop: tasks and life")
struct EventLoopTests {
    @Test(
        "tasks of one thread run in the order of the calls, on the loop's thread (netty 13)",
        arguments: TransportMode.available)
    func order(mode: TransportMode) throws {
        let thread = try LoopThread(mode)
        let log = Recorder<[Int]>()
        let loopThread = try thread.on { _ in pthread_self() }
        let ran = Mutex<[Int]>([])
        for index in 0..<1000 {
            let isTaken = thread.remote.execute { _ in
                #expect(pthread_equal(pthread_self(), loopThread) != 0)
                ran.withLock { $0.append(index) }
            }
            #expect(isTaken)
        }
        thread.remote.execute { _ in log.record(ran.withLock { $0 }) }
        #expect(try log.next() == Array(0..<1000))
        try thread.join()
    }

    @Test(
        "tasks one at a time, each after the loop has gone to sleep again, all run", arguments: TransportMode.available)
    func wakesEachTime(mode: TransportMode) throws {
        let thread = try LoopThread(mode)
        for index in 0..<2000 { #expect(try thread.on { _ in index } == index) }
        try thread.join()
    }

    @Test(
        "of four threads with 50,000 tasks each, every task runs exactly once and in its thread's order",
        arguments: TransportMode.available)
    func storm(mode: TransportMode) throws {
        let thread = try LoopThread(mode)
        let perThread = 50_000
        let next = Mutex([Int](repeating: 0, count: 4))
        let outOfOrder = Atomic<Int>(0)
        let done = Recorder<Int>()
        for producer in 0..<4 {
            Thread.detachNewThread {
                for index in 0..<perThread {
                    // Refused while `countMax` wait: the bound that keeps a slow loop's queue finite.
                    while !thread.remote.execute({ _ in
                        let expected = next.withLock { counts in
                            defer { counts[producer] += 1 }
                            return counts[producer]
                        }
                        if expected != index { outOfOrder.add(1, ordering: .relaxed) }
                    }) { usleep(200) }
                }
                done.record(producer)
            }
        }
        try done.wait(within: 30) { $0.count == 4 }
        // Behind all others in the queue.
        try thread.settle()
        #expect(next.withLock { $0 } == [Int](repeating: perThread, count: 4))
        #expect(outOfOrder.load(ordering: .relaxed) == 0)
        try thread.join()
    }

    @Test("a queue that is full refuses a task instead of growing", arguments: TransportMode.available)
    func fullQueue(mode: TransportMode) throws {
        let loop = try EventLoop(mode.configuration)
        for _ in 0..<mode.configuration.tasks.countMax { #expect(loop.remote.execute { _ in }) }
        #expect(!loop.remote.execute { _ in })
    }

    @Test(
        "a task executed by a task runs; a tail task runs in the same turn, after the tasks",
        arguments: TransportMode.available)
    func nested(mode: TransportMode) throws {
        let thread = try LoopThread(mode)
        let log = Recorder<String>()
        thread.remote.execute { loop in
            loop.remote.execute { _ in log.record("next turn") }
            loop.executeAtEndOfTurn { log.record("tail") }
            log.record("task")
        }
        try log.wait { $0.count == 3 }
        #expect(log.all == ["task", "tail", "next turn"])
        try thread.join()
    }

    @Test("a tail task of a tail task runs without anything else waking the loop", arguments: TransportMode.available)
    func nestedTailTask(mode: TransportMode) throws {
        let thread = try LoopThread(mode)
        let log = Recorder<Int>()
        thread.remote.execute { loop in
            loop.executeAtEndOfTurn { loop.executeAtEndOfTurn { loop.executeAtEndOfTurn { log.record(3) } } }
        }
        #expect(try log.next() == 3)
        try thread.join()
    }

    @Test("after the loop has ended tasks are refused (netty 11, 17)", arguments: TransportMode.available)
    func executeAfterEnd(mode: TransportMode) throws {
        let thread = try LoopThread(mode)
        try thread.join()
        let isTaken = thread.remote.execute { _ in Issue.record("ran after the end") }
        #expect(!isTaken)
        thread.remote.stop()
    }

    @Test(
        "a loop stopped before it runs, or right after its first task, ends at once (netty 9, 16)",
        arguments: TransportMode.available)
    func stopEarly(mode: TransportMode) throws {
        for _ in 0..<20 {
            let loop = try EventLoop(mode.configuration)
            loop.remote.stop()
            #expect(try loop.run() == 0)
            let thread = try LoopThread(mode)
            thread.remote.execute { $0.remote.stop() }
            try thread.join()
        }
    }

    @Test("tasks taken before the stop run; those refused after it do not", arguments: TransportMode.available)
    func tasksAtStop(mode: TransportMode) throws {
        let loop = try EventLoop(mode.configuration)
        let ran = Mutex(0)
        for _ in 0..<10 { #expect(loop.remote.execute { _ in ran.withLock { $0 += 1 } }) }
        loop.remote.stop()
        #expect(try loop.run() == 0)
        #expect(ran.withLock { $0 } == 10)
    }

    @Test(
        "a loop with a listener, clients and accepted connections stops with nothing in flight (netty 12, 16, 25)",
        arguments: TransportMode.available, AddressFamily.allCases)
    func stopWithChannels(mode: TransportMode, family: AddressFamily) throws {
        let server = try TestServer(mode, family.address)
        let peers = try (0..<20).map { _ in try Peer(connectingTo: server.address) }
        try server.connections.wait { $0.count == 20 }
        try server.join()
        #expect(server.recorder.all == [Happening](repeating: .closed(.loopStopped), count: 20))
        for peer in peers { #expect(try peer.receiveToEnd() == []) }
    }

    @Test(
        "the same address is bound, closed and bound again, twice in a row (netty 12)",
        arguments: TransportMode.available)
    func bindAgain(mode: TransportMode) throws {
        var server = try TestServer(mode)
        let address = server.address
        for _ in 0..<2 {
            try server.join()
            server = try TestServer(mode, address)
            #expect(server.address == address)
        }
        try server.join()
    }

    @Test(
        "channels made by a last task or by a closed() while the loop stops are ended too",
        arguments: TransportMode.available)
    func lateChannels(mode: TransportMode) throws {
        let recorder = Recorder<Happening>()
        let loop = try EventLoop(mode.configuration)
        let pairs = try (0..<3).map { _ in try SocketPair() }
        let fds = pairs.map { dup($0.left) }
        loop.remote.execute { loop in
            let first = RecordingConnection(loop, fd: fds[0], recorder)
            first.onClosed = { _ in
                let second = RecordingConnection(loop, fd: fds[1], recorder)
                second.onClosed = { _ in
                    loop.executeAtEndOfTurn { RecordingConnection(loop, fd: fds[2], recorder).start() }
                }
                second.start()
            }
            first.start()
        }
        loop.remote.stop()
        #expect(try loop.run() == 0)
        #expect(recorder.all == [Happening](repeating: .closed(.loopStopped), count: 3))
        #expect(loop.channelCount == 0)
    }

    @Test("the count of channels follows registration and release (netty 18)", arguments: TransportMode.available)
    func channelCount(mode: TransportMode) throws {
        let server = try TestServer(mode)
        #expect(try server.thread.on { $0.channelCount } == 1)
        let peers = try (0..<2).map { _ in try Peer(connectingTo: server.address) }
        try server.connections.wait { $0.count == 2 }
        #expect(try server.thread.on { $0.channelCount } == 3)
        peers[0].finishOutput()
        try server.recorder.wait { $0.contains(.closed(.finished)) }
        #expect(try server.thread.on { $0.channelCount } == 2)
        try server.join()
    }
}
