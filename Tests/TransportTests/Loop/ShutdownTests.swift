import CSocket
import Foundation
import Synchronization
import Testing

@testable import Transport

@Suite("Event loop: shutting down")
struct ShutdownTests {
    // MARK: The quiet period

    /// A loop by the virtual clock that is asked to shut down before it runs, and given tasks `at` these moments.
    /// Returns when it has ended and which tasks were taken.
    private static func end(
        quiet: Duration, timeout: Duration, tasksAt moments: [Duration] = [], stopAt: Duration? = nil
    ) throws -> (after: Duration, taken: [Duration]) {
        let handler = VirtualHandler()
        let loop = try handler.makeLoop()
        let taken = Log<Duration>()
        for moment in moments {
            loop.schedule(after: moment) { [remote = loop.remote] in
                remote.execute { _ in taken.values.append(moment) }
            }
        }
        if let stopAt { loop.schedule(after: stopAt) { [remote = loop.remote] in remote.stop() } }
        loop.remote.shutdownGracefully(quietPeriod: quiet, timeout: timeout)
        #expect(try loop.run() == 0)
        #expect(!loop.remote.execute { _ in Issue.record("ran after the end") })
        #expect(handler.destroyed == 1)
        return (handler.elapsed, taken.values)
    }

    private static func milliseconds(_ list: Int...) -> [Duration] { list.map { .milliseconds($0) } }

    @Test("without tasks the loop ends after the quiet period (netty 16)")
    func quiet() throws {
        let end = try Self.end(quiet: .milliseconds(200), timeout: .seconds(5))
        #expect(end.after == .milliseconds(200))
    }

    @Test("each task begins the quiet period anew")
    func tasks() throws {
        let end = try Self.end(
            quiet: .milliseconds(50), timeout: .seconds(5), tasksAt: Self.milliseconds(10, 40, 89, 130, 500))
        #expect(end.taken == Self.milliseconds(10, 40, 89, 130))
        #expect(end.after == .milliseconds(180))
    }

    @Test("tasks that keep coming are cut off by the timeout")
    func timeout() throws {
        let end = try Self.end(
            quiet: .milliseconds(50), timeout: .milliseconds(200), tasksAt: (1...100).map { .milliseconds(10 * $0) })
        #expect(end.taken.count == 20 || end.taken.count == 19, "\(end.taken)")
        #expect(end.after == .milliseconds(200))
    }

    @Test("timers alone do not hold up the end")
    func timers() throws {
        let handler = VirtualHandler()
        let loop = try handler.makeLoop()
        loop.schedule(after: .zero, repeating: .fixedRate(.milliseconds(1))) {}
        loop.remote.shutdownGracefully(quietPeriod: .milliseconds(30), timeout: .seconds(5))
        #expect(try loop.run() == 0)
        #expect(handler.elapsed == .milliseconds(30))
    }

    @Test("stop() cuts a graceful shutdown short; a second graceful one changes nothing")
    func changes() throws {
        let end = try Self.end(quiet: .seconds(2), timeout: .seconds(5), stopAt: .milliseconds(70))
        #expect(end.after == .milliseconds(70))
        let handler = VirtualHandler()
        let loop = try handler.makeLoop()
        loop.remote.shutdownGracefully(quietPeriod: .milliseconds(20), timeout: .seconds(1))
        loop.remote.shutdownGracefully(quietPeriod: .seconds(100), timeout: .seconds(100))
        #expect(try loop.run() == 0)
        #expect(handler.elapsed == .milliseconds(20))
        loop.remote.stop()
        loop.remote.shutdownGracefully()
    }

    @Test("with no quiet period a loop ends at once, before its first turn or right after its first task (netty 16)")
    func noQuietPeriod() throws {
        for _ in 0..<100 {
            let loop = try EventLoop()
            loop.remote.shutdownGracefully(quietPeriod: .zero, timeout: .zero)
            #expect(try loop.run() == 0)
            let thread = try LoopThread()
            thread.remote.execute { $0.remote.shutdownGracefully(quietPeriod: .zero, timeout: .zero) }
            try thread.waitForEnd()
        }
    }

    @Test("tasks that wait when a loop with no quiet period shuts down are run")
    func waitingTasks() throws {
        let handler = VirtualHandler()
        let loop = try handler.makeLoop()
        let ran = Log<Int>()
        for index in 0..<200 { loop.remote.execute { _ in ran.values.append(index) } }
        loop.remote.shutdownGracefully(quietPeriod: .zero, timeout: .seconds(1))
        #expect(try loop.run() == 0)
        #expect(ran.values == Array(0..<200))
    }

    @Test("channels are closed when a graceful shutdown begins, a listener among them, and tasks go on (netty 16)")
    func channels() throws {
        let server = try TestServer()
        let peer = try Peer(connectingTo: server.address)
        try server.connections.wait { $0.count == 1 }
        server.thread.remote.shutdownGracefully(quietPeriod: .milliseconds(300), timeout: .seconds(20))
        // Its end is seen here while the loop is still there.
        #expect(try peer.receiveToEnd() == [])
        #expect(try server.thread.on { $0.channelCount } == 0)
        try server.thread.waitForEnd()
        #expect(!server.thread.remote.execute { _ in })
    }

    @Test("a loop that was never run refuses tasks once it is gone")
    func neverRun() throws {
        let remote: EventLoopRemote
        do {
            let loop = try EventLoop()
            remote = loop.remote
            #expect(remote.execute { _ in Issue.record("ran without a loop") })
        }
        #expect(!remote.execute { _ in })
        remote.shutdownGracefully()
        remote.stop()
    }

    // MARK: The end of channels

    @Test("channels opened again and again by what ends them are all closed")
    func reopened() throws {
        let handler = VirtualHandler()
        let loop = try handler.makeLoop()
        let opened = Log<ReadinessWatch>()
        func open() {
            let watch = ReadinessWatch(loop, fd: 0, ready: {}) { if opened.values.count < 20 { open() } }
            opened.values.append(watch)
        }
        open()
        loop.remote.stop()
        #expect(try loop.run() == 0)
        #expect(opened.values.count == 20 && loop.channelCount == 0 && handler.inFlight.isEmpty)
        #expect(handler.destroyed == 1)
    }

    @Test("operations that do not end are given up after the timeout, and their memory is kept")
    func stuck() throws {
        let handler = VirtualHandler()
        handler.completesCancellations = false
        var configuration = EventLoopConfiguration()
        configuration.stopTimeout = .seconds(5)
        weak var weakLoop: EventLoop?
        do {
            let loop = try handler.makeLoop(configuration)
            weakLoop = loop
            _ = ReadinessWatch(loop, fd: 0) {}
            loop.remote.stop()
            #expect(try loop.run() == 1)
        }
        #expect(handler.elapsed == .seconds(5))
        #expect(handler.destroyed == 0 && weakLoop != nil, "the kernel may still write to it")
    }

    @Test("loops that end with operations in flight leave no descriptor behind")
    func descriptors() async {
        // In a process of its own, where no other test opens any.
        await #expect(processExitsWith: .success) {
            func count() throws -> Int { try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count }
            func round(_ isGraceful: Bool) throws {
                let server = try TestServer(.anyLoopback, setUp: ConnectionEchoTests.echo)
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

    // MARK: The wake-up's descriptor

    @Test("wake-ups from four threads while loops end, and after, never reach a descriptor that is not theirs")
    func storm() async {
        // In a process of its own: a number that a loop's eventfd had is taken by an eventfd that nobody may write to.
        await #expect(processExitsWith: .success) {
            for _ in 0..<60 {
                let thread = try LoopThread()
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

    // MARK: The loop's thread

    @Test("a loop knows its thread: nobody's before and after it runs, its own meanwhile")
    func isCurrent() throws {
        let loop = try VirtualHandler().makeLoop()
        #expect(!loop.isCurrent)
        loop.preconditionOnLoop()
        loop.remote.execute {
            #expect($0.isCurrent && $0.remote.isCurrent)
            $0.preconditionOnLoop()
        }
        #expect(try loop.run() == 0)
        #expect(!loop.isCurrent)
        let thread = try LoopThread()
        #expect(try thread.on { $0.isCurrent })
        #expect(!thread.remote.isCurrent)
        try thread.join()
    }

    @Test("a loop used from another thread ends a debug build")
    func wrongThread() async {
        await #expect(processExitsWith: .failure) {
            let thread = try LoopThread()
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
