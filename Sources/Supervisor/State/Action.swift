import Handoff

extension SupervisorState {
    /// Something the shell must do, in the order given.
    public enum Action: Equatable, Sendable {
        /// Start this worker with a fresh hand-off socket and its slot's page set back to sequence 0.
        case spawn(WorkerID)
        /// Send one packet with these sockets, numbered from `first`; keep our copies.
        case send(WorkerID, first: SequenceNumber, [SocketID])
        /// Adopted: close our copies. No FIN, no RST: the worker has its own.
        case release([SocketID])
        /// Write into the slot's page that every copy below this number is gone.
        case publishReleased(Int, SequenceNumber)
        /// Nobody will serve this socket: close it.
        case close(SocketID, CloseReason)
        /// Stop accepting; the kernel's backlog holds what comes.
        case pauseAccepting
        /// Accept (again). Accepting is paused at the start.
        case resumeAccepting
        /// Accept until the queues are empty, close the listeners, then say ``Event/listenersClosed``.
        case closeListeners
        /// Tell the worker to drain, and to cut what is left after so many milliseconds.
        case drain(WorkerID, milliseconds: UInt32)
        /// Tell the worker to cut everything and exit.
        case stopFast(WorkerID)
        /// SIGKILL.
        case kill(WorkerID)
        /// Something for the log.
        case report(Report)
        /// Exit with this code. The last action ever.
        case exit(ExitCode)
    }

    /// Why an accepted socket was closed without having been adopted by a worker. Each has a counter.
    public enum CloseReason: Int, CaseIterable, Sendable {
        /// The supervisor was stopping and no worker could take it.
        case noWorkerAtStop
        /// It had been sent to a worker that went away unadopted while the supervisor was stopping.
        case notAdoptedAtStop
        /// Fast stop.
        case stoppedFast
        /// Its worker's page was corrupt: adopted or not, nobody knows, and nothing may be delivered twice.
        case adoptionUnknown
        /// Delivery failed ``SupervisorConfiguration/deliveriesMax`` times.
        case undeliverable
    }
}
