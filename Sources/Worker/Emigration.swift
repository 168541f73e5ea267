import Handoff
import Logging
import Transport

/// Gives a draining worker's connections to the supervisor, for other workers to go on with, and keeps a copy of each until
/// the supervisor has it. Loop thread only.
final class Emigration {
    /// What becomes of connections here, for the worker to keep its accounts.
    struct Ends {
        /// One has moved away.
        let moved: () -> Void
        /// One that was frozen stays after all, for the service to go on with.
        let stays: (consuming FrozenConnection) -> Void
        /// Nothing moves any more: told once, for what stays to be drained where it is. What nobody would have is offered
        /// again and again all the same.
        let exhausted: (Remainder) -> Void
    }

    /// What stays when nothing moves any more.
    enum Remainder {
        /// Connections that cannot be frozen.
        case immovable
        /// Also some that nobody would have.
        case refused
    }

    private let loop: EventLoop
    private let control: HandoffSocket
    private let service: any Service
    private let logger: Logger
    private let ends: Ends
    /// Nil unless connections are to move.
    private var pacer: MigrationPacer?
    private var timer: LoopTimer?
    private var offers: [UInt32: Offered] = [:]
    private var numberNext: UInt32 = 0
    private var isExhausted = false

    /// A connection that the supervisor has been offered and this worker still has.
    private final class Offered {
        private var frozen: FrozenConnection?

        init(_ frozen: consuming FrozenConnection) { self.frozen = consume frozen }

        func take() -> FrozenConnection {
            guard let frozen = frozen.take() else { preconditionFailure("an offer is settled once") }
            return frozen
        }
    }

    /// Offers nothing yet.
    init(_ loop: EventLoop, control: HandoffSocket, service: any Service, logger: Logger, ends: Ends) {
        self.loop = loop
        self.control = control
        self.service = service
        self.logger = logger
        self.ends = ends
    }

    /// Offers so many connections per second from now on.
    func begin(perSecond: UInt32) {
        pacer = MigrationPacer(perSecond: perSecond, now: .now)
        let timer = timer ?? LoopTimer(loop) { [unowned self] in tick() }
        self.timer = timer
        timer.arm(after: MigrationPacer.interval)
    }

    /// Offers nothing more. What has been offered is still the supervisor's to answer.
    func end() {
        pacer = nil
        timer?.cancel()
    }

    private func tick() {
        guard pacer != nil else { return }
        let now = MonotonicTime.now
        let outstanding = service.freezing + offers.count
        let allowance = pacer?.allowance(outstanding: outstanding, now: now) ?? 0
        var begun = 0
        if allowance > 0 {
            if outstanding == 0, pacer?.isInVain(now: now) == true { exhausted(.refused) }
            begun = service.freeze(allowance)
            if begun == 0, outstanding == 0 {
                pacer?.passed()
                service.retryRefused()
                begun = service.freeze(allowance)
                if begun == 0 { exhausted(.immovable) }
            }
            pacer?.began(begun)
        }
        timer?.arm(after: allowance > 0 && begun == 0 ? MigrationPacer.intervalIdle : MigrationPacer.interval)
    }

    private func exhausted(_ remainder: Remainder) {
        guard !isExhausted else { return }
        isExhausted = true
        ends.exhausted(remainder)
    }

    /// Offers a connection that the service has frozen, or gives it back when that cannot be.
    func offer(_ frozen: consuming FrozenConnection) {
        guard pacer != nil, control.version >= Packet.migrationVersion else { return ends.stays(frozen) }
        guard frozen.state.count <= MigratedConnection.stateSizeMax else {
            return giveBack(frozen, "its state is too large")
        }
        let number = numberNext
        let record = ConnectionRecord(listener: frozen.listener, peer: frozen.peer, acceptedAt: frozen.acceptedAt)
        let connection = MigratedConnection(
            record: record, socketCount: frozen.sockets.count, state: frozen.state)
        let result = control.send(offer: number, connection, fds: frozen.sockets)
        guard result == .sent else { return giveBack(frozen, "\(result)") }
        numberNext &+= 1
        offers[number] = Offered(frozen)
    }

    private func giveBack(_ frozen: consuming FrozenConnection, _ reason: String) {
        logger.debug("a connection cannot be offered now", metadata: ["reason": "\(reason)"])
        stays(frozen)
    }

    /// It is refused, and goes back to the end of the line.
    private func stays(_ frozen: consuming FrozenConnection) {
        pacer?.refused(now: .now)
        frozen.isRefused = true
        ends.stays(frozen)
    }

    /// The supervisor has it.
    ///
    /// - Returns: false when nothing waits for an answer under this number.
    func taken(_ number: UInt32) -> Bool {
        guard let offered = offers.removeValue(forKey: number) else { return false }
        // Only this process's copies of the sockets are closed by that.
        _ = offered.take()
        pacer?.taken(now: .now)
        ends.moved()
        return true
    }

    /// Nobody can have it, now or ever: see `Packet.offerRefused(number:)`.
    ///
    /// - Returns: false when nothing waits for an answer under this number.
    func refused(_ number: UInt32) -> Bool {
        guard let offered = offers.removeValue(forKey: number) else { return false }
        stays(offered.take())
        return true
    }

    /// There is no supervisor any more: what it has not answered it has not taken.
    func recall() {
        end()
        for offered in takeOffers() { ends.stays(offered.take()) }
    }

    /// Offers that the supervisor has not answered.
    var unanswered: Int { offers.count }

    /// Everything is cut. Peers are told nothing, and the page goes on to count what was offered: the supervisor reads the
    /// offers yet, and saves the connections.
    func abandon() {
        end()
        _ = takeOffers()
    }

    private func takeOffers() -> [Offered] {
        defer { offers = [:] }
        return Array(offers.values)
    }
}
