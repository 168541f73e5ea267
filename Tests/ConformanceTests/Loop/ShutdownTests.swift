import CSocket
import Foundation
import Synchronization
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Event loop: shutting down")
struct ShutdownTests {
    @Test(
        "with no quiet period a loop ends at once, before its first turn or right after its first task (netty 16)",
        arguments: TransportMode.available)
    func noQuietPeriod(mode: TransportMode) throws {
        for _ in 0..<100 {
            let loop = try EventLoop(mode.configuration)
            loop.remote.shutdownGracefully(quietPeriod: .zero, timeout: .zero)
            #expect(try loop.run() == 0)
            let thread = try LoopThread(mode)
            thread.remote.execute { $0.remote.shutdownGracefully(quietPeriod: .zero, timeout: .zero) }
            try thread.waitForEnd()
        }
    }

    @Test(
        "channels are closed when a graceful shutdown begins, a listener among them, and tasks go on (netty 16)",
        arguments: TransportMode.available)
    func channels(mode: TransportMode) throws {
        let server = try TestServer(mode)
        let peer = try Peer(connectingTo: server.address)
        try server.connections.wait { $0.count == 1 }
        server.thread.remote.shutdownGracefully(quietPeriod: .milliseconds(300), timeout: .seconds(20))
        // Its end is seen here while the loop is still there.
        #expect(try peer.receiveToEnd() == [])
        #expect(try server.thread.on { $0.channelCount } == 0)
        try server.thread.waitForEnd()
        #expect(!server.thread.remote.execute { _ in })
    }

    @Test("a loop that was never run refuses tasks once it is gone", arguments: TransportMode.available)
    func neverRun(mode: TransportMode) throws {
        let remote: EventLoopRemote
        do {
            let loop = try EventLoop(mode.configuration)
            remote = loop.remote
            #expect(remote.execute { _ in Issue.record("ran without a loop") })
        }
        #expect(!remote.execute { _ in })
        remote.shutdownGracefully()
        remote.stop()
    }

    @Test("loops that end with operations in flight leave no descriptor behind", arguments: TransportMode.available)
    func descriptors(mode: TransportMode) async {
        // In a process of its own, where no other test opens any.
        await #expect(processExitsWith: .success) { [mode] in
            func count() throws -> Int { try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count }
            func round(_ isGraceful: Bool) throws {
                let server = try TestServer(mode, .anyLoopback, setUp: RecordingConnection.echo)
                let peers = try (0..<8).map { _ in try Peer(connectingTo: server.address) }
                try server.connections.wait { $0.count == 8 }
                for peer in peers { try peer.send("in flight") }
                if isGraceful {
                    server.thread.remote.shutdownGracefully(quietPeriod: .zero, timeout: .seconds(5))
                    try server.thread.waitForEnd()
                } else {
                    try server.join()
                }
            }
            try round(false)
            let before = try count()
            for index in 0..<20 { try round(index.isMultiple(of: 2)) }
            try eventually("\(before) descriptors") { try count() <= before }
        }
    }

    @Test(
        "wake-ups from four threads while loops end, and after, never reach a descriptor that is not theirs",
        arguments: TransportMode.available)
    func storm(mode: TransportMode) async {
        // In a process of its own: a number that a loop's eventfd had is taken by an eventfd that nobody may write to.
        await #expect(processExitsWith: .success) { [mode] in
            for _ in 0..<60 {
                let thread = try LoopThread(mode)
                let isOver = Recorder<Int>()
                let mayEnd = Mutex(false)
                for index in 0..<4 {
                    // Each has a reference of its own to the remote only, and drops it last.
                    let remote = thread.remote
                    Thread.detachNewThread {
                        var count = 0
                        while !mayEnd.withLock({ $0 }) {
                            if count.isMultiple(of: 2) {
                                remote.execute { _ in }
                            } else {
                                remote.stop(after: 200, count)
                            }
                            count += 1
                            if count.isMultiple(of: 64) { usleep(UInt32(index) * 20) }
                        }
                        isOver.record(count)
                    }
                }
                try thread.join()
                var watched: [Int32] = []
                for _ in 0..<16 { watched.append(csocket_eventfd()) }
                usleep(2000)
                mayEnd.withLock { $0 = true }
                try isOver.wait { $0.count == 4 }
                for fd in watched {
                    var value: UInt64 = 0
                    #expect(read(fd, &value, 8) == -1 && errno == EAGAIN, "somebody has written to a foreign eventfd")
                    close(fd)
                }
            }
        }
    }

    @Test("a loop used from another thread ends a debug build", arguments: TransportMode.available)
    func wrongThread(mode: TransportMode) async {
        await #expect(processExitsWith: .failure) { [mode] in
            let thread = try LoopThread(mode)
            // Carried out of its thread as no program should.
            nonisolated(unsafe) var stolen: EventLoop?
            let isStolen = Recorder<Bool>()
            thread.remote.execute { loop in
                stolen = loop
                isStolen.record(true)
            }
            _ = try isStolen.next()
            stolen?.executeAtEndOfTurn {}
        }
    }
}

extension EventLoopRemote {
    /// Stops the loop when `count` has come to `number`; before that, only wakes it.
    fileprivate func stop(after number: Int, _ count: Int) {
        if count > number { stop() } else { wakeup.signal() }
    }
}
