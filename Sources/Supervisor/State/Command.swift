/// Names a command whose sender waits for the answer.
public struct CommandID: Hashable, Sendable, Codable {
    /// Whatever number the shell chose.
    public var rawValue: UInt32

    /// The command with this number.
    public init(_ rawValue: UInt32) {
        self.rawValue = rawValue
    }
}

/// Why all workers are replaced.
public enum ReplacementReason: String, Sendable, Codable {
    /// The configuration was read again.
    case reload
    /// The supervisor's binary is another one.
    case upgrade
}

/// How the number of workers changes.
public enum ScaleChange: Equatable, Sendable {
    /// To so many.
    case to(Int)
    /// By so many more, or fewer if negative.
    case by(Int)
}

/// What became of a command. The text is a sentence for whoever sent it.
public enum CommandOutcome: Equatable, Sendable, Codable {
    /// It is done.
    case done(String)
    /// Nothing was begun.
    case refused(String)
    /// It was begun and came to nothing; what was before goes on.
    case failed(String)
}

extension SupervisorState {
    /// What an operator wants.
    public enum Command: Sendable {
        /// Replace every worker by ``SupervisorConfiguration/workerCount`` new ones with this configuration, which serve
        /// these listeners. The shell has validated it; listeners that are new are bound and do not accept yet. Those that
        /// `changed` get another kind of service, to which connections of the former cannot move.
        ///
        /// The command takes the generation that ``SupervisorState/generationNext`` named when it came, even if it is
        /// refused. That generation ends in exactly one ``Action/commit(_:_:)`` or ``Action/rollBack(_:reason:)``.
        case replaceAll(
            reason: ReplacementReason, SupervisorConfiguration, listeners: Set<UInt16>, changed: Set<UInt16> = [])
        /// Have another number of workers.
        case scale(ScaleChange)
        /// Start a replacement of the worker in this slot, then retire that worker.
        case drain(slot: Int)
    }
}
