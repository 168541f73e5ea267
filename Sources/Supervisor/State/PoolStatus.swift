/// What the supervisor knows of itself, for an operator.
public struct PoolStatus: Equatable, Sendable, Codable {
    /// One worker, or a slot that waits for its next one.
    public struct Worker: Equatable, Sendable, Codable {
        /// Where it sits.
        public var slot: Int
        /// Which process of that slot it is.
        public var incarnation: UInt32
        /// What it was spawned for.
        public var generation: Generation
        /// `starting`, `standby` (ready, but its generation does not serve yet), `ready`, `stalled`, `draining`,
        /// `leaving`, `backoff` or `abandoned` (its slot stays empty).
        public var state: String
        /// Connections it has.
        public var live: Int
        /// Sockets on the way to it.
        public var inflight: Int
        /// Seconds since it was spawned.
        public var sinceSeconds: Double
        /// Deaths of this slot's workers that a restart followed or follows.
        public var restarts: Int
    }

    /// `starting`, `running`, `draining` (stopping, whether accepting still goes on or not) or `exited`.
    public var phase: String
    /// The generation that serves.
    public var generation: Generation
    /// Workers there should be.
    public var wanted: Int
    /// Too many restarts: one slot at a time, slowly.
    public var degraded: Bool
    /// The limit at which clients wait in the kernel's queue; nil while there is room.
    public var full: FullLimit?
    /// By slot.
    public var workers: [Worker]
    /// Accepted sockets that wait for a worker.
    public var pending: Int
    /// The supervisor's counters, by name.
    public var counters: [String: UInt64]
    /// What became of the last reload or upgrade; nil if there was none.
    public var lastReplacement: CommandOutcome?
}
