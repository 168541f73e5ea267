import Transport

/// All workers are being replaced by those of another generation, beside which the old ones go on serving.
struct Replacement: Sendable, Codable {
    /// Deaths of the new generation's workers at which it is given up.
    static let failuresMax = 3
    /// Generations that may still be draining when another one begins: with the one that serves they make two.
    static let drainingMax = 1
    /// How long what removed listeners accepted may wait for an old worker before these are told to drain.
    static let emptyingMax: Duration = .seconds(5)

    enum Stage: Sendable, Codable {
        /// Too many generations are still draining, or too few slots are free.
        case waiting
        /// The new workers start. They get no traffic before all are ready.
        case booting
        /// All were ready. Listeners that the new generation does not have are closing; there is no way back.
        case retiringListeners
        /// They are closed; until then at the latest, what they accepted still goes to the old workers.
        case emptying(until: MonotonicTime)
    }

    let command: CommandID?
    let reason: ReplacementReason
    let generation: Generation
    let configuration: SupervisorConfiguration
    let listeners: Set<UInt16>
    /// Those of them that get another kind of service.
    let changed: Set<UInt16>
    var stage = Stage.waiting
    /// Deaths of its workers before all were ready.
    var failures = 0

    var nextDeadline: MonotonicTime {
        if case .emptying(let until) = stage { return until }
        return .distantFuture
    }
}
