import Supervisor

/// The simulation's book of what became of each accepted socket. It knows nothing of the state machine, only what may
/// be done to a socket, and writes down every breach.
final class Ledger {
    enum Place: Equatable {
        /// With the supervisor alone.
        case held
        /// A packet with it is on the way to this worker.
        case delivered(WorkerID)
        /// This worker serves it, or did.
        case adopted(WorkerID)
        /// This worker gives it up: both have a copy, and it is the worker's until the supervisor takes it.
        case offered(WorkerID)
    }

    struct Entry {
        var place = Place.held
        /// Whether the supervisor's own copy is open.
        var isCopyOpen = true
        /// How often the supervisor let go of it because a worker had adopted it, and took it back.
        var releases = 0
        var takes = 0
        var closedFor: SupervisorState.CloseReason?
    }

    private(set) var entries: [Entry] = []
    private(set) var violations: [String] = []

    /// The listener that each came from.
    private(set) var listeners: [UInt16] = []

    func accept(from listener: UInt16 = 0) -> Int {
        entries.append(Entry())
        listeners.append(listener)
        return entries.count - 1
    }

    func deliver(_ socket: Int, to worker: WorkerID) {
        require(entries[socket].place == .held, "socket \(socket) sent to \(worker) but \(entries[socket].place)")
        require(entries[socket].isCopyOpen, "socket \(socket) sent without a copy")
        entries[socket].place = .delivered(worker)
    }

    func reject(_ socket: Int, by worker: WorkerID) {
        require(entries[socket].place == .delivered(worker), "socket \(socket) rejected by \(worker) without delivery")
        entries[socket].place = .held
    }

    func adopt(_ socket: Int, by worker: WorkerID) {
        require(entries[socket].place == .delivered(worker), "socket \(socket) adopted but \(entries[socket].place)")
        entries[socket].place = .adopted(worker)
    }

    /// The worker is gone: what it had not adopted is with the supervisor alone.
    func bury(_ worker: WorkerID) {
        for socket in entries.indices where entries[socket].place == .delivered(worker) {
            entries[socket].place = .held
        }
    }

    func release(_ socket: Int) {
        require(entries[socket].isCopyOpen, "socket \(socket) released twice")
        if case .adopted = entries[socket].place {
        } else {
            require(false, "socket \(socket) released but \(entries[socket].place)")
        }
        entries[socket].isCopyOpen = false
        entries[socket].releases += 1
    }

    func offer(_ socket: Int, by worker: WorkerID) {
        require(entries[socket].place == .adopted(worker), "socket \(socket) offered but \(entries[socket].place)")
        require(!entries[socket].isCopyOpen, "socket \(socket) offered before it was released")
        entries[socket].place = .offered(worker)
        entries[socket].isCopyOpen = true
    }

    func take(_ socket: Int, from worker: WorkerID) {
        require(entries[socket].place == .offered(worker), "socket \(socket) taken but \(entries[socket].place)")
        entries[socket].place = .held
        entries[socket].takes += 1
    }

    /// The worker goes on with it, unless it is dead: `isLost`.
    func refuse(_ socket: Int, of worker: WorkerID, isLost: Bool = false) {
        require(entries[socket].place == .offered(worker), "socket \(socket) refused but \(entries[socket].place)")
        require(!isLost, "socket \(socket) of \(worker), the last copy, refused though it could be kept")
        entries[socket].place = .adopted(worker)
        entries[socket].isCopyOpen = false
    }

    /// Whether the worker, and nobody else, serves it.
    func isServed(_ socket: Int, by worker: WorkerID) -> Bool {
        entries[socket].place == .adopted(worker) && !entries[socket].isCopyOpen
    }

    /// Closed by the supervisor. At its exit, or when it distrusts the worker, it cannot know what was adopted.
    func close(_ socket: Int, _ reason: SupervisorState.CloseReason, isExiting: Bool) {
        require(entries[socket].isCopyOpen, "socket \(socket) closed without a copy")
        if entries[socket].place != .held, reason != .adoptionUnknown, !isExiting {
            require(false, "socket \(socket) closed as \(reason) but \(entries[socket].place)")
        }
        entries[socket].isCopyOpen = false
        entries[socket].closedFor = reason
    }

    func require(_ holds: Bool, _ rule: @autoclosure () -> String) {
        if !holds { violations.append(rule()) }
    }

    /// The end: every socket was adopted, or closed with a reason, and no copy is left.
    func audit(_ counters: SupervisorCounters) {
        for (socket, entry) in entries.enumerated() {
            require(!entry.isCopyOpen, "socket \(socket) leaked: \(entry.place)")
            let ends = entry.releases + (entry.closedFor == nil ? 0 : 1)
            require(ends == 1 + entry.takes, "socket \(socket) was let go \(ends) times, taken \(entry.takes) times")
            if entry.closedFor == nil, entry.place == .held || isDelivered(entry.place) {
                require(false, "socket \(socket) was lost: \(entry.place)")
            }
        }
        require(counters.accepted == entries.count, "accepted is miscounted")
        require(counters.adopted == entries.reduce(0) { $0 + UInt64($1.releases) }, "adopted is miscounted")
        require(counters.offersTaken == entries.reduce(0) { $0 + UInt64($1.takes) }, "taken offers are miscounted")
        for reason in SupervisorState.CloseReason.allCases {
            require(counters[reason] == entries.count { $0.closedFor == reason }, "\(reason) is miscounted")
        }
    }

    /// Sockets that a worker should still get.
    var undelivered: Int {
        entries.count { $0.closedFor == nil && ($0.place == .held || isDelivered($0.place)) }
    }

    private func isDelivered(_ place: Place) -> Bool {
        if case .delivered = place { return true }
        return false
    }
}
