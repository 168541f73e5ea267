import Handoff
import Transport

extension SupervisorState {
    /// Something that happened. The shell makes these from completions, packets, signals and child exits.
    ///
    /// Events about an incarnation that is no longer the slot's own are ignored.
    public enum Event: Sendable {
        /// The listeners are bound: spawn the workers. Once, before anything else.
        case start
        /// Accept completions. The shell feeds ``page(_:_:)`` for every worker just before, so that loads are fresh.
        case accepted([AcceptedSocket])
        /// What the page of a slot's living worker says. Decides nothing by itself: ``accepted(_:)`` or ``timer``
        /// follows once all pages are read.
        case page(Int, PageReading)
        /// The page of a slot's living worker contradicts itself. Such a worker is killed.
        case pageCorrupt(Int)
        /// The worker said HELLO. It gets no traffic before READY.
        case hello(WorkerID)
        /// The worker's ring and service work.
        case ready(WorkerID)
        /// The worker has drained and is about to exit; it cut so many connections at the deadline.
        case drained(WorkerID, forced: UInt32)
        /// The worker says why it is about to exit.
        case failed(WorkerID, ExitCode, message: String)
        /// A packet did not go out. Its sockets, and those of every later packet to this worker, were not sent: the
        /// shell skips further ``Action/send(_:first:_:)`` to the worker in the list at hand. When it is through the
        /// list, it reports each refused worker once, and nothing is chosen anew before the ``timer`` that it feeds then.
        case sendRefused(WorkerID, first: SequenceNumber, SendRefusal)
        /// The process is reaped. `finalReading` is its page read afterwards; nil if that makes no sense.
        case exited(WorkerID, ExitStatus, finalReading: PageReading?)
        /// A stop signal or command.
        case stop(StopKind)
        /// The accept queues are empty and the listeners are closed; everything accepted was delivered before.
        case listenersClosed
        /// The state was thawed in a new process: accepting is paused there, whatever it was before. Once, first of all.
        case thawed
        /// An operator's command; nil for the id if nobody waits for the answer (it came by a signal).
        case command(CommandID?, Command)
        /// A reload or an upgrade was asked for that could not be begun: its configuration or its program is not right, say.
        case replacementRefused(String)
        /// A draining worker gives a connection up. The shell holds its sockets and its state under that id, and keeps
        /// them until ``Action/release(_:)``, ``Action/close(_:_:)`` or ``Action/refuseOffer(_:number:_:)``. `isLastCopy`:
        /// the process is reaped, or has said that it is done, and this lay in its hand-off socket.
        case offered(WorkerID, number: UInt32, AcceptedSocket, isLastCopy: Bool)
        /// HELLO told the worker's version: whether it can offer connections and take offered ones.
        case versionAgreed(WorkerID, migrates: Bool)
        /// The worker's resident memory, looked at now and then.
        case memory(WorkerID, bytes: UInt64)
        /// What ``Action/retireListeners(_:)`` asked for is done; everything they accepted was delivered before.
        case listenersRetired(Set<UInt16>)
        /// ``SupervisorState/nextDeadline`` has come (fed after the pages, like ``accepted(_:)``), or refusals were
        /// reported.
        case timer
    }

    /// How to stop.
    public enum StopKind: Sendable {
        /// Let connections finish until the grace is over (SIGTERM, SIGQUIT).
        case graceful
        /// Cut everything now (SIGINT); a second stop of any kind means this too.
        case fast
    }

    /// Why sendmsg(2) did not take a hand-off packet.
    public enum SendRefusal: Sendable {
        /// EAGAIN: the worker's socket is full.
        case full
        /// ETOOMANYREFS: too many of this user's descriptors are in flight, whoever sent them (unix(7)).
        case tooManyInFlight
        /// EPIPE or ECONNRESET: the worker's end is closed.
        case gone
    }
}
