import Glibc
import Handoff
import Transport

@testable import Supervisor

/// A supervisor's state machine in a simulated world: virtual time, fake workers, and a ledger of every socket.
final class World {
    var state: SupervisorState
    var climate: Climate
    var random: SplitMix64
    var now = MonotonicTime(nanoseconds: 1_000_000_000)
    var ledger = Ledger()
    /// By slot; nil where the supervisor has reaped the process.
    var workers: [FakeWorker?]
    /// Which socket a token of the supervisor stands for. Tokens are reused at once, as descriptors are.
    var tokens: [Int?] = []
    /// Which connection a worker offered under that token, until it is taken or refused.
    var offersOpen: [SocketID: Int] = [:]
    /// Whether the worker whose offers are read is dead.
    var areOffersLast = false
    /// Tokens of connections that were offered and taken, with the generation that had served them.
    var offered: [SocketID: Generation] = [:]
    var orders: Orders
    var upgrades = 0
    /// The most workers there ever should be.
    var workersMax: Int
    /// Of each slot: what its last process was, and whether it was told to go.
    var formerly: [FakeWorker?] = []
    var retiringListeners: [(at: MonotonicTime, Set<UInt16>)] = []
    /// Closed for good, before the generation that does without them serves.
    var listenersRetired: Set<UInt16> = []
    /// Whether all workers of the next generation were ready: it is not given up any more.
    var isPastReturn = false
    /// Whether the supervisor could not look for a while.
    var wasSuspended = false
    /// As it was before the event at hand.
    var hangTimeout: Duration?
    /// Whether the actions at hand follow from a command.
    var isCommanded = false
    var isAccepting = false
    var pausedAt = MonotonicTime(nanoseconds: 0)
    /// Since when accepting is paused although there are places and nothing is in the way.
    var vacantSince: MonotonicTime?
    var listenersCloseAt: MonotonicTime?
    var areListenersClosed = false
    var stopDeadline: MonotonicTime?
    var restarts: [MonotonicTime] = []
    /// Restarts while another worker served: the intensity limit is about these.
    var restartsBesideOthers: [MonotonicTime] = []
    var exitCode: ExitCode?

    var configuration: SupervisorConfiguration { state.configuration }

    init(seed: UInt64, climate: Climate? = nil) {
        random = SplitMix64(seed: seed)
        self.climate = climate ?? .random(using: &random)
        let configuration = SupervisorConfiguration.random(seed: seed, using: &random)
        let listeners: Set<UInt16> = [0, 1]
        state = SupervisorState(configuration: configuration, listeners: listeners)
        orders = Orders(listeners: listeners)
        workersMax = configuration.workerCount
        workers = []
    }

    func chance(_ percent: Int) -> Bool { percent > 0 && random.next() % 100 < UInt64(percent) }

    func shortly(_ microsecondsMax: Int) -> MonotonicTime {
        now + .microseconds(Int64(random.next() % UInt64(microsecondsMax + 1)))
    }

    static let isTracing = getenv("RINGMASTER_TRACE") != nil

    /// One life from start to exit; what went wrong in it.
    func run(turns: Int) -> [String] {
        feed(.start)
        play(turnsMax: turns)
        if stopDeadline == nil { recover() }
        if exitCode == nil, stopDeadline == nil { stop(.graceful) }
        play(turnsMax: 30_000)
        require(exitCode != nil, "the supervisor does not exit")
        if ledger.violations.isEmpty {
            ledger.audit(state.counters)
            checkRestarts()
            require(orders.isSettled, "a command was not answered, or a generation forgotten")
        }
        return ledger.violations + orders.violations
    }

    /// The world turns healthy; then every socket must find a worker, and every worker must come back.
    private func recover() {
        climate = .healthy
        play(turnsMax: 30_000) { isQuiet }
        require(exitCode != nil || isQuiet, "no peace in a healthy world: \(ledger.undelivered) sockets undelivered")
    }

    /// Turns until the exit, a violation, or that.
    private func play(turnsMax: Int, until isEnough: () -> Bool = { false }) {
        for _ in 0..<turnsMax {
            if exitCode != nil || !ledger.violations.isEmpty || isEnough() { return }
            turn()
        }
    }

    private var isQuiet: Bool {
        isAccepting && orders.isSettled && state.isComplete && state.succession == nil
            && tokens.allSatisfy { $0 == nil } && ledger.undelivered == 0
    }

    // MARK: A turn

    private func turn() {
        advanceClock()
        for slot in workers.indices { act(slot) }
        for slot in workers.indices { deliverOffers(slot) }
        for slot in workers.indices { deliverExit(slot) }
        if chance(2) { feedStale() }
        if exitCode == nil, chance(climate.command) { command() }
        if exitCode == nil, stopDeadline == nil, chance(climate.suspension) { suspend() }
        if chance(climate.stop), stopDeadline == nil || chance(5) {
            stop(chance(30) ? .fast : .graceful)
        }
        accept()
        if let deadline = state.nextDeadline, deadline <= now {
            feedPages()
            feed(.timer)
            if let next = state.nextDeadline { require(next > now, "a timer that is always due") }
        }
        if let (at, listeners) = retiringListeners.first, at <= now {
            retiringListeners.removeFirst()
            listenersRetired.formUnion(listeners)
            feed(.listenersRetired(listeners))
        }
        if let at = listenersCloseAt, at <= now {
            listenersCloseAt = nil
            areListenersClosed = true
            feed(.listenersClosed)
        }
        if let stopDeadline, exitCode == nil { require(now < stopDeadline, "no exit in time") }
        if climate.arrival == 0 { checkVacancy() }
    }

    /// In a healthy world clients do not wait for a place that is free.
    private func checkVacancy() {
        guard isVacant else {
            vacantSince = nil
            return
        }
        let since = vacantSince ?? now
        vacantSince = since
        require(now - since < Self.vacancyMax, "accepting is paused although places are free")
    }

    /// A pause at the limit, a look at the pages, and what a worker still rests after a rejection.
    private static let vacancyMax: Duration = .milliseconds(100)

    private var isVacant: Bool {
        guard !isAccepting, exitCode == nil, stopDeadline == nil, tokens.allSatisfy({ $0 == nil }) else { return false }
        let living = workers.compactMap(\.self)
        guard living.reduce(0, { $0 + $1.live.count }) < configuration.connectionsMax else { return false }
        return living.contains { worker in
            worker.stage == .serving && worker.live.count < worker.limit && state.slots[worker.id.slot].takesTraffic
        }
    }

    /// A short step, or a leap to whatever comes next; never past the supervisor's timer.
    private func advanceClock() {
        var next = state.nextDeadline ?? .distantFuture
        next = min(next, listenersCloseAt ?? .distantFuture)
        next = min(next, retiringListeners.first?.at ?? .distantFuture)
        for worker in workers { next = min(next, worker?.nextEvent ?? .distantFuture) }
        require(next != .distantFuture || isAccepting, "everybody waits for somebody else")
        let isShort = chance(climate.arrival == 0 ? 10 : 60) || next == .distantFuture
        now = isShort ? min(shortly(2_000), max(now, next)) : max(now, next)
    }

    private func accept() {
        guard exitCode == nil, !areListenersClosed, chance(climate.arrival) else { return }
        // Accept completions may be under way when accepting is paused.
        let isStray = !isAccepting && now - pausedAt < .milliseconds(1)
        guard isAccepting || isStray || listenersCloseAt != nil else { return }
        let count = Int.random(in: 1...(isAccepting ? 12 : 2), using: &random)
        feedPages()
        guard exitCode == nil else { return }
        // Listeners that are being retired go on until their queues are empty.
        let open = orders.listeners.subtracting(listenersRetired).sorted()
        guard !open.isEmpty else { return }
        let sockets = (0..<count).map { _ in
            let listener = open.randomElement(using: &random) ?? 0
            return AcceptedSocket(
                id: token(for: ledger.accept(from: listener)), listener: listener, sourceHash: random.next() % 5,
                acceptedAt: now)
        }
        feed(.accepted(sockets))
    }

    func token(for socket: Int) -> SocketID {
        if let free = tokens.firstIndex(of: nil) {
            tokens[free] = socket
            return SocketID(Int32(free))
        }
        tokens.append(socket)
        return SocketID(Int32(tokens.count - 1))
    }

    private func feedPages() {
        for slot in workers.indices {
            guard var worker = workers[slot] else { continue }
            if worker.isLiar, chance(50) {
                feed(chance(30) ? .pageCorrupt(slot) : .page(slot, worker.lie(now: now, random.next())))
                continue
            }
            worker.read = worker.takeReading(now: now)
            workers[slot] = worker
            feed(.page(slot, worker.read))
        }
    }

    /// Events about a process that is long gone change nothing.
    private func feedStale() {
        guard exitCode == nil, let worker = workers.compactMap(\.self).first, worker.id.incarnation > 0 else { return }
        let stale = WorkerID(slot: worker.id.slot, incarnation: worker.id.incarnation - 1)
        for event: SupervisorState.Event in [
            .ready(stale), .exited(stale, .code(0), finalReading: nil), .sendRefused(stale, first: 0, .gone),
        ] {
            feed(event)
        }
    }

    func stop(_ kind: SupervisorState.StopKind) {
        let isFast = kind == .fast || stopDeadline != nil || configuration.grace == .zero
        let deadline = now + (isFast ? .seconds(1) : configuration.grace)
        stopDeadline = min(stopDeadline ?? .distantFuture, deadline)
        feed(.stop(kind))
    }

    func feed(_ event: SupervisorState.Event) {
        hangTimeout = configuration.hangTimeout
        let actions = state.handle(event, now: now)
        if Self.isTracing { print(now.nanoseconds, event, actions) }
        // Pages come in numbers, and something else always follows them.
        if case .page = event {} else { for broken in state.brokenInvariants() { require(false, broken) } }
        isCommanded = if case .command = event { true } else { false }
        perform(actions)
    }

    func require(_ holds: Bool, _ rule: @autoclosure () -> String) {
        ledger.require(holds, "\(rule()) (at \(now.nanoseconds) ns)")
    }

    private func checkRestarts() {
        let limit = configuration.restart.intensityMax(workerCount: workersMax) + 2
        bound(restartsBesideOthers, limit)
        // With nobody serving it is each slot's own back-off: 100 ms doubled up to 30 s is some ten starts a minute, and
        // a worker that was ready for ten seconds starts anew without one.
        bound(restarts, limit + 16 * workersMax)
    }

    private func bound(_ restarts: [MonotonicTime], _ limit: Int) {
        for (index, restart) in restarts.enumerated() where index >= limit {
            require(restart - restarts[index - limit] >= configuration.restart.intensityWindow, "restarts too often")
        }
    }
}
