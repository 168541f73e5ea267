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
    var isAccepting = false
    var pausedAt = MonotonicTime(nanoseconds: 0)
    var listenersCloseAt: MonotonicTime?
    var areListenersClosed = false
    var stopDeadline: MonotonicTime?
    var restarts: [MonotonicTime] = []
    /// Restarts while another worker served: the intensity limit is about these.
    var restartsBesideOthers: [MonotonicTime] = []
    var exitCode: ExitCode?

    var configuration: SupervisorConfiguration { state.configuration }

    init(seed: UInt64) {
        random = SplitMix64(seed: seed)
        climate = .random(using: &random)
        let configuration = SupervisorConfiguration.random(seed: seed, using: &random)
        state = SupervisorState(configuration: configuration)
        workers = Array(repeating: nil, count: configuration.workerCount)
    }

    func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &random) < percent }

    func shortly(_ microsecondsMax: Int) -> MonotonicTime {
        now + .microseconds(Int.random(in: 0...microsecondsMax, using: &random))
    }

    /// One life from start to exit; what went wrong in it.
    func run(turns: Int) -> [String] {
        feed(.start)
        play(turnsMax: turns)
        if stopDeadline == nil { recover() }
        if exitCode == nil, stopDeadline == nil { stop(.graceful) }
        play(turnsMax: 5_000)
        require(exitCode != nil, "the supervisor does not exit")
        if ledger.violations.isEmpty {
            ledger.audit(state.counters)
            checkRestarts()
        }
        return ledger.violations
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
        isAccepting && state.slots.allSatisfy { $0.state == .ready || $0.state == .vacant }
            && tokens.allSatisfy { $0 == nil } && ledger.undelivered == 0
    }

    // MARK: A turn

    private func turn() {
        advanceClock()
        for slot in workers.indices { act(slot) }
        for slot in workers.indices { deliverExit(slot) }
        if chance(2) { feedStale() }
        if chance(climate.stop), stopDeadline == nil || chance(5) {
            stop(chance(30) ? .fast : .graceful)
        }
        accept()
        if let deadline = state.nextDeadline, deadline <= now {
            feedPages()
            feed(.timer)
            if let next = state.nextDeadline { require(next > now, "a timer that is always due") }
        }
        if let at = listenersCloseAt, at <= now {
            listenersCloseAt = nil
            areListenersClosed = true
            feed(.listenersClosed)
        }
        if let stopDeadline, exitCode == nil { require(now < stopDeadline, "no exit in time") }
    }

    /// A short step, or a leap to whatever comes next; never past the supervisor's timer.
    private func advanceClock() {
        var next = state.nextDeadline ?? .distantFuture
        next = min(next, listenersCloseAt ?? .distantFuture)
        for worker in workers { next = min(next, worker?.nextEvent ?? .distantFuture) }
        require(next != .distantFuture || isAccepting, "everybody waits for somebody else")
        let step = shortly(2_000)
        now = chance(60) || next == .distantFuture ? min(step, max(now, next)) : max(now, next)
    }

    private func accept() {
        guard exitCode == nil, !areListenersClosed, chance(climate.arrival) else { return }
        // Accept completions may be under way when accepting is paused.
        let isStray = !isAccepting && now - pausedAt < .milliseconds(1)
        guard isAccepting || isStray || listenersCloseAt != nil else { return }
        let count = Int.random(in: 1...(isAccepting ? 12 : 2), using: &random)
        let sockets = (0..<count).map { _ in
            AcceptedSocket(
                id: token(for: ledger.accept()), listener: 0, sourceHash: random.next() % 5, acceptedAt: now)
        }
        feedPages()
        feed(.accepted(sockets))
    }

    private func token(for socket: Int) -> SocketID {
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
        let actions = state.handle(event, now: now)
        for broken in state.brokenInvariants() { require(false, broken) }
        perform(actions)
    }

    func require(_ holds: Bool, _ rule: @autoclosure () -> String) {
        ledger.require(holds, "\(rule()) (at \(now.nanoseconds) ns)")
    }

    private func checkRestarts() {
        let limit = configuration.restart.intensityMax(workerCount: configuration.workerCount) + 2
        bound(restartsBesideOthers, limit)
        // With nobody serving it is each slot's own back-off: 100 ms doubled up to 30 s is some ten starts a minute, and
        // a worker that was ready for ten seconds starts anew without one.
        bound(restarts, limit + 16 * configuration.workerCount)
    }

    private func bound(_ restarts: [MonotonicTime], _ limit: Int) {
        for (index, restart) in restarts.enumerated() where index >= limit {
            require(restart - restarts[index - limit] >= configuration.restart.intensityWindow, "restarts too often")
        }
    }
}
