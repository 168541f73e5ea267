/// Something that a loop's owner may want to log. Each event is told once a second at most, with what has added up.
public struct EventLoopReport: Hashable, Sendable, CustomStringConvertible {
    /// What has happened.
    public enum Event: String, CaseIterable, Sendable {
        /// Completions outgrew the completion queue. Nothing is lost; a larger queue would save time.
        case completionQueueOverflowed = "completion queue overflowed"
        /// Receives had to wait for a buffer.
        case receiveBuffersExhausted = "receive buffers exhausted"
        /// The kernel had no memory for operations, and the loop rested.
        case memoryShortage = "kernel short of memory"
        /// Streams were copied: splice(2) is denied, or there was no pipe for them (``EventLoopConfiguration/splicePipesMax``,
        /// no descriptor, or the user's limit, pipe(7)).
        case splicesRefused = "streams copied, for want of a pipe or of splice(2)"
        /// Tasks found the queue full, or the loop about to end.
        case tasksRejected = "tasks rejected"
    }

    /// What has happened.
    public var event: Event
    /// How often, since the report before.
    public var count: UInt64

    /// States what has happened so many times.
    public init(_ event: Event, count: UInt64) {
        self.event = event
        self.count = count
    }

    /// `receive buffers exhausted (3 times)`.
    public var description: String { "\(event.rawValue) (\(count == 1 ? "once" : "\(count) times"))" }
}

/// Bounds how often one growing counter is reported.
struct ReportLimiter {
    static let interval: Duration = .seconds(1)
    private var reported: UInt64 = 0
    private var isReportable = MonotonicTime(nanoseconds: 0)

    /// How much the counter has grown since the last report, when it is time for one.
    mutating func take(total: UInt64, now: MonotonicTime) -> UInt64? {
        guard total != reported, now >= isReportable else { return nil }
        defer {
            reported = total
            isReportable = now + Self.interval
        }
        return total &- reported
    }

    /// When growth that is not reported yet may be; the distant future when there is none.
    func nextReport(total: UInt64) -> MonotonicTime {
        total == reported ? .distantFuture : isReportable
    }
}

/// What has happened since the loop was made, event by event.
struct ReportTotals {
    var completionQueueOverflowed: UInt64 = 0
    var receiveBuffersExhausted: UInt64 = 0
    var memoryShortage: UInt64 = 0
    var splicesRefused: UInt64 = 0
    var tasksRejected: UInt64 = 0

    var sum: UInt64 {
        completionQueueOverflowed &+ receiveBuffersExhausted &+ memoryShortage &+ splicesRefused &+ tasksRejected
    }

    subscript(event: EventLoopReport.Event) -> UInt64 {
        switch event {
        case .completionQueueOverflowed: completionQueueOverflowed
        case .receiveBuffersExhausted: receiveBuffersExhausted
        case .memoryShortage: memoryShortage
        case .splicesRefused: splicesRefused
        case .tasksRejected: tasksRejected
        }
    }
}

/// The limiters of all events.
struct ReportLimiters {
    private var limiters = EventLoopReport.Event.allCases.map { (event: $0, limiter: ReportLimiter()) }
    /// Of the totals seen last. They only grow, so that an equal sum means that nothing has happened.
    private var sum: UInt64 = 0
    /// When what has been held back may be reported; the distant future when nothing has.
    private(set) var next = MonotonicTime.distantFuture

    /// The reports that are due. Asked in every turn: quick when nothing has happened.
    mutating func take(now: MonotonicTime, totals: ReportTotals) -> [EventLoopReport] {
        guard totals.sum != sum || now >= next else { return [] }
        sum = totals.sum
        next = .distantFuture
        var reports: [EventLoopReport] = []
        for index in limiters.indices {
            let event = limiters[index].event
            if let count = limiters[index].limiter.take(total: totals[event], now: now) {
                reports.append(EventLoopReport(event, count: count))
            }
            next = min(next, limiters[index].limiter.nextReport(total: totals[event]))
        }
        return reports
    }
}
