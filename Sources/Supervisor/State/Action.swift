import Handoff

extension SupervisorState {
    /// Something the shell must do, in the order given.
    public enum Action: Equatable, Sendable {
        /// Start this worker for that generation, with a fresh hand-off socket and its slot's page set back to sequence 0.
        /// A slot may be new: the shell makes its page then. There are never more than ``SupervisorState/slotsMax``.
        case spawn(WorkerID, Generation)
        /// Send one packet with these sockets, numbered from `first`; keep our copies. The sockets are all fresh, or one
        /// that a worker offered.
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
        /// Accept until the queues of these are empty, close them, then say ``Event/listenersRetired(_:)``. The others go on.
        case retireListeners(Set<UInt16>)
        /// This generation serves from now on: its configuration counts, and these listeners, all that there are, accept.
        case commit(Generation, Set<UInt16>)
        /// This generation comes to nothing: drop what was prepared for it.
        case rollBack(Generation, reason: String)
        /// The answer to a command: exactly one for each.
        case finished(CommandID?, CommandOutcome)
        /// The connection is ours: tell the worker to close its copy. Comes before any ``send(_:first:_:)`` of the socket.
        case takeOffer(WorkerID, number: UInt32, SocketID)
        /// Nobody can have the connection: close our copies, tell the worker to go on serving it.
        case refuseOffer(WorkerID, number: UInt32, SocketID)
        /// Tell the worker to drain, to offer up to so many connections per second meanwhile (0: none), and to cut what is
        /// left after so many milliseconds. May come again with less time.
        case drain(WorkerID, milliseconds: UInt32, migrationsPerSecond: UInt32)
        /// Tell the worker to cut everything and exit.
        case stopFast(WorkerID)
        /// SIGABRT, so that it shows where it hangs; ``kill(_:)`` follows.
        case abort(WorkerID)
        /// SIGKILL.
        case kill(WorkerID)
        /// Something for the log.
        case report(Report)
        /// Exit with this code. The last action ever.
        case exit(ExitCode)
    }

    /// Why an accepted socket was closed without having been adopted by a worker. Each has a counter.
    public enum CloseReason: String, CaseIterable, Sendable {
        /// The supervisor was stopping and no worker could take it.
        case noWorkerAtStop
        /// It had been sent to a worker that went away unadopted while the supervisor was stopping.
        case notAdoptedAtStop
        /// Fast stop.
        case stoppedFast
        /// Its worker's page was corrupt: adopted or not, nobody knows, and nothing may be delivered twice.
        case adoptionUnknown
        /// Delivery failed ``SupervisorConfiguration/deliveriesMax`` times, or it came from a worker and no other
        /// understands it.
        case undeliverable
        /// Its listener is not part of the configuration any more, and no worker that knows it takes connections.
        case listenerRemoved
    }
}
