/// What a loop does about I/O in one turn.
public enum SelectDecision: Sendable {
    /// Sleep until something completes, a timer is due or another thread wakes the loop. With work pending the loop
    /// polls instead: it never sleeps on work.
    case block
    /// Submit, and take what has completed, without sleeping. Chosen with no work pending it is a busy wait.
    case poll
    /// No I/O in this turn: timers and tasks only. After ``SelectContext/skipsInRowMax`` turns of it the loop polls.
    case skip
}

/// What a ``SelectStrategy`` may go by.
public struct SelectContext: Sendable {
    /// How many turns in a row may be without I/O.
    public static let skipsInRowMax = 64

    /// Tasks, tail tasks, writes or submissions are waiting for this turn, or a timer is due.
    public var hasWork: Bool
    /// The turn before had no completion, no timer and no task.
    public var wasIdle: Bool
    /// The loop's time at the end of the turn before.
    public var now: MonotonicTime

    /// States what a turn begins with.
    public init(hasWork: Bool, wasIdle: Bool, now: MonotonicTime) {
        self.hasWork = hasWork
        self.wasIdle = wasIdle
        self.now = now
    }
}

/// Decides at the start of each turn whether the loop sleeps. Each loop has a copy of its own and asks it once per
/// turn, on its thread.
public protocol SelectStrategy: Sendable {
    /// What to do in the coming turn.
    mutating func select(_ context: SelectContext) -> SelectDecision
}

/// Polls while there is work, else sleeps: the rule for nearly everybody.
public struct BlockWhenIdle: SelectStrategy {
    /// The rule has no settings.
    public init() {}

    /// Never skips.
    public func select(_ context: SelectContext) -> SelectDecision {
        context.hasWork ? .poll : .block
    }
}

/// Polls for a while after the last work before it sleeps: saves the wake-up's latency for a processor that is kept
/// busy meanwhile.
public struct SpinThenBlock: SelectStrategy {
    /// How long it polls after the last work.
    public let duration: Duration
    private var spinEnd = MonotonicTime(nanoseconds: 0)

    /// Polls for `duration` after the last work; a very long one makes a loop that never sleeps.
    public init(for duration: Duration) {
        self.duration = duration
    }

    /// Never skips.
    public mutating func select(_ context: SelectContext) -> SelectDecision {
        if context.hasWork || !context.wasIdle { spinEnd = context.now + duration }
        return context.hasWork || context.now < spinEnd ? .poll : .block
    }
}
