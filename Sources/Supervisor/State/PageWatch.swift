import Transport

/// When to look at the status pages next.
///
/// Adoption is a store into a page: nothing wakes the supervisor. While something is awaited it looks a millisecond after
/// each progress, then ever more rarely while nothing moves. Otherwise it looks just often enough to see who hangs.
struct PageWatch: Sendable, Codable {
    static let intervalMin: Duration = .milliseconds(1)
    static let intervalMax: Duration = .milliseconds(16)
    static let intervalIdle: Duration = .milliseconds(500)

    enum Need {
        /// No worker whose page says anything.
        case none
        case heartbeats
        /// An adoption, or credit.
        case progress
    }

    private(set) var at: MonotonicTime?
    private var interval = intervalMin

    /// Something moved: more may follow soon.
    mutating func progress(now: MonotonicTime) {
        interval = Self.intervalMin
        at = min(at ?? .distantFuture, now + interval)
    }

    /// Sets the next look, or none. Called whenever time has passed.
    mutating func rearm(now: MonotonicTime, need: Need, hasLooked: Bool) {
        let due = at ?? .distantFuture
        // One that is due and was not taken stays so: events that come all the time would put it off for ever.
        if due <= now, !hasLooked, need != .none { return }
        switch need {
        case .none:
            at = nil
            interval = Self.intervalMin
        case .heartbeats:
            at = due <= now ? now + Self.intervalIdle : min(due, now + Self.intervalIdle)
            interval = Self.intervalMin
        case .progress:
            if due <= now { interval = min(interval * 2, Self.intervalMax) }
            // What came in between has looked as well: connections that keep coming need no looks beside theirs.
            at = due <= now || hasLooked ? now + interval : min(due, now + interval)
        }
    }
}
