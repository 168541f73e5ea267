/// How a loop treats the tasks that are handed to it.
public struct TaskConfiguration: Sendable {
    /// Tasks waiting at once, 1 or more; what comes beyond is rejected.
    public var countMax = 65_536
    /// Longest time that tasks take in one turn while I/O waits. Looked at every ``checkInterval`` tasks, so that many
    /// are always run. What is left over comes in the next turn, which does not sleep.
    public var timeMax: Duration = .milliseconds(100)
    /// Percentage of a turn that is for I/O, 1...100. At 50 tasks get as long as the turn's completions took, at 100
    /// ``timeMax`` alone is their bound.
    public var ioRatio = 100
    /// What becomes of a task that finds ``countMax`` waiting.
    public var rejection = TaskRejectionPolicy.refuse

    /// Tasks run between two looks at the clock.
    public static let checkInterval = 64

    /// The defaults: 65,536 tasks waiting at most, 100 ms per turn, no ratio, rejected tasks refused.
    public init() {}

    /// When tasks that begin at `start` have to stop.
    func deadline(from start: MonotonicTime, ioNanoseconds: UInt64) -> MonotonicTime {
        let limit = start + timeMax
        guard ioRatio < 100 else { return limit }
        let (product, overflow) = ioNanoseconds.multipliedReportingOverflow(by: UInt64(100 - ioRatio))
        guard !overflow else { return limit }
        return min(limit, start + .nanoseconds(Int64(clamping: product / UInt64(ioRatio))))
    }

    func validate() {
        precondition(countMax >= 1, "a task queue holds one task or more")
        precondition(timeMax >= .zero, "tasks take no negative time")
        precondition((1...100).contains(ioRatio), "the I/O ratio is a percentage, 1...100")
        if case .wait(let retries, let delay) = rejection {
            precondition((1...TaskRejectionPolicy.retriesMax).contains(retries), "1...1000 retries")
            precondition(delay > .zero && delay <= .seconds(1), "a retry comes after a second at the latest")
        }
    }
}

/// What becomes of a task when the queue is full. Each rejected task is counted. When the loop has ended a task is
/// always refused.
public enum TaskRejectionPolicy: Sendable {
    /// `execute` returns false.
    case refuse
    /// The closure is called with the task on the caller's thread, then `execute` returns false.
    case call(@Sendable (@escaping EventLoopRemote.Task) -> Void)
    /// The caller sleeps for `delay` (up to 1 s) and tries again, 1...1000 times, before the task is refused. The
    /// loop's own thread does not wait: nobody else would empty the queue.
    case wait(retries: Int, delay: Duration)

    static let retriesMax = 1000
}
