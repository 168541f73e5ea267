import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Event loop: reports and statistics")
struct EventLoopReportTests {
    @Test("a counter that grows is reported at once, then once a second with what has added up")
    func limiter() {
        var limiter = ReportLimiter()
        let start = VirtualHandler.start
        #expect(limiter.take(total: 0, now: start) == nil && limiter.nextReport(total: 0) == .distantFuture)
        #expect(limiter.take(total: 2, now: start) == 2)
        #expect(limiter.take(total: 3, now: start + .milliseconds(1)) == nil)
        #expect(limiter.take(total: 7, now: start + .milliseconds(999)) == nil)
        #expect(limiter.nextReport(total: 7) == start + .seconds(1))
        #expect(limiter.take(total: 7, now: start + .seconds(1)) == 5)
        #expect(limiter.take(total: 7, now: start + .seconds(9)) == nil)
        #expect(limiter.nextReport(total: 7) == .distantFuture)
        #expect(limiter.take(total: 8, now: start + .seconds(9)) == 1)
    }

    @Test("one event does not hold up another's report", arguments: EventLoopReport.Event.allCases)
    func independent(_ event: EventLoopReport.Event) {
        var limiters = ReportLimiters()
        var totals = ReportTotals()
        let start = VirtualHandler.start
        #expect(limiters.take(now: start, totals: totals).isEmpty && limiters.next == .distantFuture)
        for other in EventLoopReport.Event.allCases where other != event { totals.add(other) }
        #expect(limiters.take(now: start, totals: totals).count == EventLoopReport.Event.allCases.count - 1)
        totals.add(event)
        #expect(limiters.take(now: start, totals: totals) == [EventLoopReport(event, count: 1)])
        totals.add(event)
        #expect(limiters.take(now: start, totals: totals).isEmpty && limiters.next == start + .seconds(1))
        #expect(limiters.take(now: start + .seconds(1), totals: totals) == [EventLoopReport(event, count: 1)])
        #expect(limiters.next == .distantFuture)
    }

    @Test("a report reads as a log line")
    func description() {
        #expect("\(EventLoopReport(.memoryShortage, count: 1))" == "kernel short of memory (once)")
        #expect("\(EventLoopReport(.tasksRejected, count: 12))" == "tasks rejected (12 times)")
    }

    /// A loop whose reports are noted with the time of each.
    private static func reporting(
        _ configure: (inout EventLoopConfiguration) -> Void = { _ in }
    ) throws -> (loop: EventLoop, handler: VirtualHandler, reports: Log<(Duration, EventLoopReport)>) {
        let handler = VirtualHandler()
        let reports = Log<(Duration, EventLoopReport)>()
        var configuration = EventLoopConfiguration()
        configuration.report = { reports.values.append((handler.elapsed, $0)) }
        configure(&configuration)
        return (try handler.makeLoop(configuration), handler, reports)
    }

    @Test("an overflow and a shortage of memory in every turn are reported once a second each")
    func everyTurn() throws {
        let (loop, handler, reports) = try Self.reporting()
        handler.onRun = { _ in
            handler.overflowCount += 1
            handler.shortageCount += 2
        }
        let timer = loop.schedule(after: .zero, repeating: .fixedRate(.milliseconds(10))) {}
        loop.schedule(after: .milliseconds(2995)) { [remote = loop.remote] in
            timer.cancel()
            remote.stop()
        }
        #expect(try loop.run() == 0)
        for (event, perTurn) in [(EventLoopReport.Event.completionQueueOverflowed, 1), (.memoryShortage, 2)] {
            let own = reports.values.filter { $0.1.event == event }
            #expect(own.map(\.0) == [.zero, .seconds(1), .seconds(2)])
            #expect(own.map(\.1.count) == [1, 100, 100].map { UInt64($0 * perTurn) })
        }
        #expect(reports.values.count == 6)
    }

    @Test("what was held back is reported when its time has come, though nothing else happens")
    func heldBack() throws {
        let (loop, handler, reports) = try Self.reporting()
        handler.onRun = { if $0 < 2 { handler.overflowCount += 1 } }
        loop.schedule(after: .zero) {}
        loop.schedule(after: .milliseconds(1)) {}
        #expect(try loop.run() == 0)
        #expect(reports.values.map(\.0) == [.zero, .seconds(1)])
        #expect(reports.values.map(\.1.count) == [1, 1])
    }

    @Test("rejected tasks are reported by the loop that could not take them")
    func rejected() throws {
        let (loop, _, reports) = try Self.reporting { $0.tasks.countMax = 2 }
        for _ in 0..<5 { loop.remote.execute { _ in } }
        #expect(try loop.run() == 0)
        #expect(reports.values.map(\.1) == [EventLoopReport(.tasksRejected, count: 3)])
    }

    @Test("time in completions and time in timers, tasks and tail tasks are told apart; waiting is neither")
    func times() throws {
        let handler = VirtualHandler()
        let loop = try handler.makeLoop()
        var watch: ReadinessWatch?
        watch = ReadinessWatch(loop, fd: 0) {
            handler.advance(.milliseconds(3))
            watch?.stop()
        }
        handler.onRun = { if $0 == 1 { handler.complete(.poll, 1) } }
        LoopTimer(loop) { handler.advance(.milliseconds(10)) }.arm(after: .seconds(60))
        loop.remote.execute { _ in handler.advance(.milliseconds(100)) }
        loop.executeAtEndOfTurn { handler.advance(.seconds(1)) }
        #expect(try loop.run() == 0)
        let statistics = loop.statistics
        #expect(statistics.ioNanoseconds == 3_000_000)
        #expect(statistics.taskNanoseconds == 1_110_000_000)
        #expect(statistics.busyNanoseconds == 1_113_000_000)
        #expect(loop.remote.busyNanoseconds == 1_113_000_000)
        #expect(handler.elapsed > .seconds(60))
    }

    @Test("turns, sleeps, wake-ups and tasks are counted; signals before a turn are one wake-up")
    func counts() throws {
        let handler = VirtualHandler()
        let loop = try handler.makeLoop()
        LoopTimer(loop) {}.arm(after: .seconds(1))
        handler.onRun = { run in
            for _ in 0..<2 where run == 0 { loop.remote.execute { _ in } }
        }
        #expect(try loop.run() == 0)
        // One until the timer, and one that the handler ended by a stop.
        #expect(loop.statistics.turns == 2 && loop.statistics.sleeps == 2)
        #expect(loop.statistics.wakeups == 2)
        #expect(loop.statistics.tasks == 2)
    }
}

extension ReportTotals {
    fileprivate mutating func add(_ event: EventLoopReport.Event) {
        switch event {
        case .completionQueueOverflowed: completionQueueOverflowed += 1
        case .receiveBuffersExhausted: receiveBuffersExhausted += 1
        case .memoryShortage: memoryShortage += 1
        case .splicesRefused: splicesRefused += 1
        case .tasksRejected: tasksRejected += 1
        }
    }
}
