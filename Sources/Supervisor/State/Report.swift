import Handoff

extension SupervisorState {
    /// A fact worth a line in the log.
    public enum Report: Equatable, Sendable {
        /// The worker takes traffic from now on.
        case workerReady(WorkerID)
        /// Every worker is ready, for the first time: the `ready` line.
        case allReady
        /// The worker said why it is about to exit.
        case workerFailed(WorkerID, ExitCode, message: String)
        /// The worker was not READY in time and is killed.
        case bootTimedOut(WorkerID)
        /// The worker's page made no sense; it is killed.
        case pageCorrupt(WorkerID)
        /// The worker could not take so many sockets; they go to others.
        case rejected(WorkerID, count: Int)
        /// The worker is gone unasked: `redelivered` sockets go to others, `lost` connections died with it.
        case workerDied(WorkerID, ExitStatus, redelivered: Int, lost: UInt32)
        /// So many more deaths with the same status went unreported.
        case deathsCollapsed(ExitStatus, count: Int)
        /// The slot's next worker starts after this delay.
        case restartScheduled(slot: Int, delay: Duration)
        /// The slot stays empty: its worker exited with ``ExitCode/badUsage``, which no restart mends.
        case slotRetired(Int)
        /// Too many restarts: one slot at a time from now on, slowly.
        case degraded
        /// All workers are ready again.
        case recovered
        /// The worker has drained; it cut so many connections.
        case workerDrained(WorkerID, forced: UInt32)
        /// The worker left during the stop.
        case workerStopped(WorkerID, ExitStatus)
        /// The last report: what the supervisor did in its life.
        case stopped(SupervisorCounters)
    }
}

/// What the supervisor has counted since its start.
public struct SupervisorCounters: Equatable, Sendable {
    /// Sockets that accept(2) gave.
    public internal(set) var accepted: UInt64 = 0
    /// Sockets that a worker adopted.
    public internal(set) var adopted: UInt64 = 0
    /// Sockets taken back from a worker that died or rejected them, for another.
    public internal(set) var redelivered: UInt64 = 0
    /// Workers started again after a death.
    public internal(set) var restarts: UInt64 = 0
    /// Connections that draining workers cut at the deadline.
    public internal(set) var forcedCloses: UInt64 = 0
    private var closes = [UInt64](repeating: 0, count: SupervisorState.CloseReason.allCases.count)

    /// Sockets closed for this reason.
    public internal(set) subscript(reason: SupervisorState.CloseReason) -> UInt64 {
        get { closes[reason.rawValue] }
        set { closes[reason.rawValue] = newValue }
    }

    /// Sockets closed for any reason without having been adopted.
    public var closed: UInt64 { closes.reduce(0, +) }
}
