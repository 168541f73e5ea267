import Transport

/// Whether a worker's loop turns: its heartbeat must change.
///
/// Time counts only in steps of ``stepMax`` between two looks: when the supervisor itself was stopped, or the machine
/// suspended, the worker could not beat either.
struct Pulse: Sendable, Codable {
    /// Unchanged for this long: the worker gets no traffic.
    static let stallAfter: Duration = .seconds(1)
    static let stepMax: Duration = .milliseconds(500)

    enum Change: Equatable {
        case stalled
        case resumed
    }

    private var last: MonotonicTime?
    private var lookedAt: MonotonicTime?
    private var unchangedFor: Duration = .zero

    var isStalled: Bool { unchangedFor >= Self.stallAfter }

    /// Whether a look at this very moment found it unchanged for so long. An older look proves nothing any more.
    func stoodStill(for timeout: Duration, now: MonotonicTime) -> Bool {
        lookedAt == now && unchangedFor >= timeout
    }

    /// Takes in what the page says; returns what that changes.
    mutating func look(_ heartbeat: MonotonicTime, now: MonotonicTime) -> Change? {
        let wasStalled = isStalled
        if heartbeat == last, let lookedAt {
            unchangedFor += min(now - lookedAt, Self.stepMax)
        } else {
            unchangedFor = .zero
        }
        (last, lookedAt) = (heartbeat, now)
        if isStalled == wasStalled { return nil }
        return isStalled ? .stalled : .resumed
    }

    /// The time until the next look counts for nothing.
    mutating func skip(to now: MonotonicTime) {
        if lookedAt != nil { lookedAt = now }
    }
}
