import Transport

/// One worker is being replaced by another of its generation.
struct Succession: Sendable, Codable {
    /// How long after one that failed the next worker may be recycled.
    static let pauseAfterFailure: Duration = .seconds(60)

    /// The slot of the worker that goes, and of the one that comes.
    let old: Int
    let new: Int
    let reason: RecycleReason
    /// Who waits for the answer if the reason is a command.
    let command: CommandID?
}

/// Somebody waits until the workers that a command asked for are ready.
struct ScaleWait: Sendable, Codable {
    /// Such commands at a time.
    static let countMax = 64

    let command: CommandID?
    let until: MonotonicTime
}
