import Transport

/// What a supervisor tells a worker process through its environment when it spawns it, besides the command line,
/// which is the supervisor's own.
public struct WorkerBirth: Hashable, Sendable {
    /// The environment variable. Only a supervisor sets it.
    public static let variable = "RINGMASTER_INTERNAL_WORKER"
    /// The worker's end of the hand-off socket.
    public static let controlDescriptor: Int32 = 3
    /// The status page's memfd.
    public static let pageDescriptor: Int32 = 4

    /// Its place among the workers.
    public var slot: Int
    /// Which process in that place it is.
    public var generation: UInt32
    /// Connections it may have at once, at least 1.
    public var connectionsMax: Int
    /// How it reaches the kernel.
    public var loop: LoopKind

    /// What a worker is told.
    public init(slot: Int, generation: UInt32, connectionsMax: Int, loop: LoopKind) {
        self.slot = slot
        self.generation = generation
        self.connectionsMax = connectionsMax
        self.loop = loop
    }

    /// The variable's value.
    public var encoded: String { "\(slot):\(generation):\(connectionsMax):\(loop.rawValue)" }

    /// Reads the variable's value; nil when no supervisor wrote it.
    public init?(encoded: String) {
        let fields = encoded.split(separator: ":", omittingEmptySubsequences: false)
        guard fields.count == 4, let loop = LoopKind(rawValue: String(fields[3])), let slot = Int(fields[0]),
            let generation = UInt32(fields[1]),
            let connectionsMax = Int(fields[2]), slot >= 0, connectionsMax >= 1
        else { return nil }
        self.init(slot: slot, generation: generation, connectionsMax: connectionsMax, loop: loop)
    }
}
