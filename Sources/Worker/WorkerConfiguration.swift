import Transport

/// What a worker process is told at birth.
public struct WorkerConfiguration: Sendable {
    /// Its place among the workers.
    public var slot: Int
    /// Which process in that place it is.
    public var incarnation: UInt32
    /// Connections it may have at once, at least 1.
    public var connectionsMax: Int
    /// How long it drains when the supervisor vanishes.
    public var orphanGrace: Duration
    /// The loop's sizes.
    public var loop: EventLoopConfiguration

    /// A configuration with the default loop.
    public init(slot: Int, incarnation: UInt32, connectionsMax: Int, orphanGrace: Duration) {
        precondition(connectionsMax >= 1)
        self.slot = slot
        self.incarnation = incarnation
        self.connectionsMax = connectionsMax
        self.orphanGrace = orphanGrace
        loop = EventLoopConfiguration()
    }
}
