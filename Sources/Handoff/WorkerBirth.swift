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
    /// A memfd with the text of the configuration that the worker serves (``SealedMemory``), or /dev/null when the
    /// command line says all.
    public static let configurationDescriptor: Int32 = 5
    /// Where the worker's log goes: the supervisor's standard error. The worker's own may be a pipe to the supervisor,
    /// which keeps its last words.
    public static let logDescriptor: Int32 = 6
    /// The most listeners of one worker.
    public static let listenersMax = 4_096

    /// Its place among the workers.
    public var slot: Int
    /// Which process in that place it is.
    public var incarnation: UInt32
    /// Which configuration it serves; 0 is the first.
    public var generation: UInt32
    /// Connections it may have at once, at least 1.
    public var connectionsMax: Int
    /// How it reaches the kernel.
    public var loop: LoopKind
    /// The numbers by which the supervisor calls the configuration's listeners, in the configuration's order: different
    /// ones, at most ``listenersMax``.
    public var listeners: [UInt16]

    /// What a worker is told.
    public init(
        slot: Int, incarnation: UInt32, generation: UInt32, connectionsMax: Int, loop: LoopKind, listeners: [UInt16]
    ) {
        self.slot = slot
        self.incarnation = incarnation
        self.generation = generation
        self.connectionsMax = connectionsMax
        self.loop = loop
        self.listeners = listeners
    }

    /// The variable's value.
    public var encoded: String {
        let listeners = listeners.map { "\($0)" }.joined(separator: ",")
        return "\(slot):\(incarnation):\(generation):\(connectionsMax):\(loop.rawValue):\(listeners)"
    }

    /// Reads the variable's value; nil when no supervisor wrote it.
    public init?(encoded: String) {
        let fields = encoded.split(separator: ":", omittingEmptySubsequences: false)
        guard fields.count == 6, let slot = Int(fields[0]), let incarnation = UInt32(fields[1]),
            let generation = UInt32(fields[2]), let connectionsMax = Int(fields[3]),
            let loop = LoopKind(rawValue: String(fields[4])), slot >= 0, connectionsMax >= 1
        else { return nil }
        let listeners = fields[5].split(separator: ",").compactMap { UInt16($0) }
        guard listeners.count <= Self.listenersMax, Set(listeners).count == listeners.count else { return nil }
        self.init(
            slot: slot, incarnation: incarnation, generation: generation, connectionsMax: connectionsMax, loop: loop,
            listeners: listeners)
        // A number has other spellings, and what is no number was left out.
        guard self.encoded == encoded else { return nil }
    }
}
