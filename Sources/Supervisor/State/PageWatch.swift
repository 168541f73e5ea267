import Transport

/// When to look at the status pages next while something is awaited from a worker.
///
/// Adoption is a store into a page: nothing wakes the supervisor. It looks a millisecond after each progress, then ever
/// more rarely while nothing moves.
struct PageWatch: Sendable, Codable {
    static let intervalMin: Duration = .milliseconds(1)
    static let intervalMax: Duration = .milliseconds(16)

    private(set) var at: MonotonicTime?
    private var interval = intervalMin

    /// Something moved: more may follow soon.
    mutating func progress(now: MonotonicTime) {
        interval = Self.intervalMin
        at = min(at ?? .distantFuture, now + interval)
    }

    /// Sets the next look, or none. Called whenever time has passed.
    mutating func rearm(now: MonotonicTime, awaited: Bool) {
        guard awaited else {
            at = nil
            interval = Self.intervalMin
            return
        }
        switch at {
        case nil:
            at = now + interval
        case .some(let due) where due <= now:
            interval = min(interval * 2, Self.intervalMax)
            at = now + interval
        case .some:
            break
        }
    }
}
