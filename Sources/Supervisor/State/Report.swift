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
        /// The worker's loop has not turned for a second: it gets no traffic.
        case stalled(WorkerID)
        /// The worker's loop turns again.
        case resumed(WorkerID)
        /// The worker's loop has not turned for ``SupervisorConfiguration/hangTimeout``: it is ended.
        case hung(WorkerID)
        /// New workers for this generation are on the way.
        case replacementStarted(Generation, ReplacementReason)
        /// This generation serves now.
        case replaced(Generation)
        /// This generation is given up, for the reason in that sentence; the one before goes on.
        case rolledBack(Generation, String)
        /// The worker has a successor and drains.
        case retired(WorkerID)
        /// Another number of workers is wanted.
        case scaled(from: Int, to: Int)
        /// The worker was replaced by a fresh one.
        case recycled(WorkerID, by: WorkerID, RecycleReason)
        /// The worker was started because the one before had grown too large, and is as large already. Once per slot and
        /// part.
        case recycledInVain(WorkerID)
        /// Nobody can have what this draining worker offers, or some of it. Once per worker.
        case offersRefused(WorkerID)
        /// All places are taken, so many connections: clients wait in the kernel's queue.
        case full(FullLimit, connections: Int)
        /// For ``Fullness/easingTime`` there has been a place for every client.
        case roomAgain
        /// The worker left because it was told to.
        case workerStopped(WorkerID, ExitStatus)
        /// The last report: what the supervisor did in its life.
        case stopped(SupervisorCounters)
    }
}
