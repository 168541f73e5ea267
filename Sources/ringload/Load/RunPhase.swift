/// How far a run has come.
enum RunPhase: Equatable {
    /// Connections are being opened; no message is sent.
    case opening
    /// Messages flow and do not count.
    case warmingUp
    /// What is answered counts.
    case measuring
    /// No new message is sent; those that are out have a limited time to come back.
    case draining
    case ended

    /// Whether messages are sent.
    var sends: Bool { self == .warmingUp || self == .measuring }
}

/// The order of the phases, and how long each lasts. Pure: it says what to do next and when to ask again.
struct RunSchedule {
    enum Step: Equatable {
        /// Begin to send; call ``RunSchedule/timeIsUp()`` after so many nanoseconds, or never.
        case warmUp(nanoseconds: UInt64)
        case measure(nanoseconds: UInt64?)
        case drain(nanoseconds: UInt64)
        case end
    }

    let warmupNanoseconds: UInt64
    /// nil: until it is finished otherwise.
    let measuredNanoseconds: UInt64?
    let drainNanoseconds: UInt64
    private(set) var phase = RunPhase.opening

    init(warmupNanoseconds: UInt64, measuredNanoseconds: UInt64?, drainNanoseconds: UInt64) {
        self.warmupNanoseconds = warmupNanoseconds
        self.measuredNanoseconds = measuredNanoseconds
        self.drainNanoseconds = drainNanoseconds
    }

    /// All attempts to connect have ended; `isAnyOpen` says whether there is anything to go on with.
    mutating func opened(isAnyOpen: Bool) -> Step? {
        guard phase == .opening else { return nil }
        guard isAnyOpen else { return end() }
        guard warmupNanoseconds > 0 else { return measure() }
        phase = .warmingUp
        return .warmUp(nanoseconds: warmupNanoseconds)
    }

    /// The time of the last step has passed.
    mutating func timeIsUp() -> Step? {
        switch phase {
        case .warmingUp: measure()
        case .measuring: drain()
        case .draining: end()
        case .opening, .ended: nil
        }
    }

    /// The user, or what the run was to do, asks for the end: what is out is still waited for.
    mutating func finishEarly() -> Step? {
        switch phase {
        case .opening: end()
        case .warmingUp, .measuring: drain()
        case .draining, .ended: nil
        }
    }

    /// Nothing is out any more, and nothing can come.
    mutating func drained() -> Step? {
        phase == .draining ? end() : nil
    }

    private mutating func measure() -> Step {
        phase = .measuring
        return .measure(nanoseconds: measuredNanoseconds)
    }

    private mutating func drain() -> Step {
        phase = .draining
        return .drain(nanoseconds: drainNanoseconds)
    }

    private mutating func end() -> Step {
        phase = .ended
        return .end
    }
}
