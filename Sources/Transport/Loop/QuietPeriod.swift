/// How a graceful shutdown was asked for.
struct ShutdownPlan: Hashable, Sendable {
    /// How long no task may have come.
    var quietPeriod: Duration
    /// When it ends all the same, counted from when the loop sees it.
    var timeout: Duration
}

/// Tells when a loop that is shutting down has been quiet for long enough.
struct QuietPeriod {
    private let period: Duration
    private let end: MonotonicTime
    private var lastTask: MonotonicTime

    init(_ plan: ShutdownPlan, now: MonotonicTime) {
        period = plan.quietPeriod
        end = now + plan.timeout
        lastTask = now
    }

    /// Tasks were run in the turn that ended at `now`.
    mutating func tasksRan(_ now: MonotonicTime) {
        lastTask = now
    }

    /// When to look again, or nil when the loop may end.
    func nextLook(now: MonotonicTime, hasTasks: Bool) -> MonotonicTime? {
        let quiet = min(lastTask + period, end)
        if now >= end || (!hasTasks && now >= quiet) { return nil }
        return quiet
    }
}
