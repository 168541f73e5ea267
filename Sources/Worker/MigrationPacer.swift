import Transport

/// How fast a draining worker offers its connections, and when it has offered them in vain for long enough. Pure.
struct MigrationPacer {
    /// The time between two looks.
    static let interval: Duration = .milliseconds(5)
    /// The time until the next look when there was nothing to move.
    static let intervalIdle: Duration = .milliseconds(50)
    /// Connections that are neither here nor there, at most: being frozen, or offered and not answered.
    static let outstandingMax = 64
    /// How long nothing is offered after a refusal: whoever refused one has no room for another either.
    static let refusalRest: Duration = .milliseconds(250)
    /// How long it is when others were taken since the last rest: then that one connection may be the reason.
    static let refusalRestShort: Duration = .milliseconds(10)
    /// How long nothing must have been taken, with everything offered, to count as in vain.
    static let patience: Duration = .seconds(2)

    private static let nanosecondsPerSecond: UInt64 = 1_000_000_000
    private let perSecond: UInt64
    /// What may be begun, in billionths of a connection.
    private var earned: UInt64 = 0
    private var earnedUntil: MonotonicTime
    private var restsUntil = MonotonicTime(nanoseconds: 0)
    private var rest = refusalRest
    /// Whether one was taken since the last rest began.
    private var wasTaken = false
    /// When one was taken last, or the beginning.
    private var takenAt: MonotonicTime
    /// Whether a pass is over: everything that can move has been offered once at least.
    private var hasPassed = false

    /// Begins at `now`, with nothing earned yet.
    init(perSecond: UInt32, now: MonotonicTime) {
        precondition(perSecond > 0, "a rate of 0 is no migration")
        self.perSecond = UInt64(perSecond)
        earnedUntil = now
        takenAt = now
    }

    /// Whether a refusal is too recent.
    func isResting(now: MonotonicTime) -> Bool { now < restsUntil }

    /// How many connections may be begun at `now`, with so many begun and not settled.
    mutating func allowance(outstanding: Int, now: MonotonicTime) -> Int {
        assert(outstanding >= 0)
        earn(now)
        guard !isResting(now: now) else { return 0 }
        return min(Int(earned / Self.nanosecondsPerSecond), max(0, Self.outstandingMax - outstanding))
    }

    /// So many were begun, at most the last allowance.
    mutating func began(_ count: Int) {
        let cost = UInt64(count) * Self.nanosecondsPerSecond
        precondition(cost <= earned, "more than was allowed")
        earned -= cost
    }

    /// One could not be given away.
    mutating func refused(now: MonotonicTime) {
        if !isResting(now: now) {
            rest = wasTaken ? Self.refusalRestShort : Self.refusalRest
            wasTaken = false
        }
        restsUntil = now + rest
    }

    /// One was given away.
    mutating func taken(now: MonotonicTime) {
        wasTaken = true
        takenAt = now
    }

    /// Nothing is left to offer but what was refused.
    mutating func passed() { hasPassed = true }

    /// Whether all that can move was refused, and nothing was taken for ``patience``: their listener may be gone, or
    /// nobody's room suffices. It may become otherwise yet.
    func isInVain(now: MonotonicTime) -> Bool { hasPassed && now - takenAt >= Self.patience }

    /// Time that was not used is worth ``outstandingMax`` connections at most.
    private mutating func earn(_ now: MonotonicTime) {
        let elapsed = min((now - earnedUntil).wholeNanoseconds, Self.nanosecondsPerSecond)
        earnedUntil = max(earnedUntil, now)
        earned = min(earned + elapsed * perSecond, UInt64(Self.outstandingMax) * Self.nanosecondsPerSecond)
    }
}
