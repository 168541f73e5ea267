import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Event loop: its end by a virtual clock")
struct QuietPeriodTests {
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

    // MARK: The end of channels

    @Test("channels opened again and again by what ends them are all closed")
    func reopened() throws {
        let handler = VirtualHandler()
        let loop = try handler.makeLoop()
        let opened = Log<ReadinessWatch>()
        func open() {
            opened.values.append(
                ReadinessWatch(loop, fd: 0, ready: {}, ended: { if opened.values.count < 20 { open() } }))
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
    }

}
