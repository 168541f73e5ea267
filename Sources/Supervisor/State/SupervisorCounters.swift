/// What the supervisor has counted since its start, over all its upgrades.
public struct SupervisorCounters: Equatable, Sendable, Codable {
    /// Sockets that accept(2) gave.
    public internal(set) var accepted: UInt64 = 0
    /// Connections that draining workers gave up, for another.
    public internal(set) var offersTaken: UInt64 = 0
    /// Times that nobody could have such a connection, for want of room or of its listener: the worker went on serving it.
    public internal(set) var offersRefused: UInt64 = 0
    /// Sockets, accepted and offered, that a worker adopted.
    public internal(set) var adopted: UInt64 = 0
    /// Sockets taken back from a worker that died or rejected them, for another.
    public internal(set) var redelivered: UInt64 = 0
    /// Workers started again after a death.
    public internal(set) var restarts: UInt64 = 0
    /// Connections that died with a worker.
    public internal(set) var lost: UInt64 = 0
    /// Connections that draining workers cut at the deadline.
    public internal(set) var forcedCloses: UInt64 = 0
    /// Workers ended because their loop stood still.
    public internal(set) var hung: UInt64 = 0
    /// Workers replaced by fresh ones because of their age, connections or memory.
    public internal(set) var recycled: UInt64 = 0
    /// Generations that came to serve.
    public internal(set) var replacements: UInt64 = 0
    /// Generations that were given up before they served.
    public internal(set) var rollBacks: UInt64 = 0
    /// By name, so that a binary with other reasons can read it.
    private var closes: [String: UInt64] = [:]

    /// Sockets closed for this reason.
    public internal(set) subscript(reason: SupervisorState.CloseReason) -> UInt64 {
        get { closes[reason.rawValue, default: 0] }
        set { closes[reason.rawValue] = newValue }
    }

    /// Sockets closed for any reason without having been adopted.
    public var closed: UInt64 { closes.values.reduce(0, +) }

    /// All of them, by name.
    public var byName: [String: UInt64] {
        [
            "accepted": accepted, "offersTaken": offersTaken, "offersRefused": offersRefused, "adopted": adopted,
            "redelivered": redelivered, "restarts": restarts, "lost": lost, "forcedCloses": forcedCloses,
            "hung": hung, "recycled": recycled, "replacements": replacements, "rollBacks": rollBacks,
        ].merging(closes.map { ("closed.\($0.key)", $0.value) }) { $1 }
    }
}
