/// When a worker that works is replaced by a fresh one. Every limit is varied by up to a tenth either way per worker, so
/// that workers of one age do not go together.
public struct RecyclePolicy: Equatable, Sendable, Codable {
    /// The age, from READY. Nil: no limit.
    public var ageMax: Duration?
    /// Connections adopted that no other worker had before, at least 1. Nil: no limit.
    public var connectionsMax: UInt64?
    /// Resident bytes. Nil: no limit.
    public var memoryMax: UInt64?
    /// No worker is recycled before it was ready for this long. Default 10 s.
    public var lifetimeMin: Duration = .seconds(10)

    /// How long the successor of a worker that had grown too large is kept at least, however large it is: perhaps the limit
    /// is below what the service needs.
    static let memoryLifetimeMin: Duration = .seconds(600)

    /// A policy with these limits.
    public init(ageMax: Duration? = nil, connectionsMax: UInt64? = nil, memoryMax: UInt64? = nil) {
        self.ageMax = ageMax
        self.connectionsMax = connectionsMax
        self.memoryMax = memoryMax
    }
}

/// The limit that a recycled worker had reached.
public enum RecycleReason: String, Sendable, Codable {
    /// It was that old.
    case age
    /// It had taken so many new connections.
    case connections
    /// It had grown so large.
    case memory
    /// Somebody asked for it with ``SupervisorState/Command/drain(slot:)``.
    case command
}
