import Handoff
import Transport

@testable import Supervisor

typealias Event = SupervisorState.Event
typealias Action = SupervisorState.Action
/// The module's own type; Testing has one of this name too.
typealias ProcessExit = Supervisor.ExitStatus

/// A supervisor's state machine with a clock, for tests of single rules.
struct Pool {
    var state: SupervisorState
    private(set) var now = MonotonicTime(nanoseconds: 1_000_000_000)
    private var nextSocket: Int32 = 0

    init(
        workers: Int = 2, balance: Balance = .leastLoaded, connectionsMax: Int = 1_000,
        grace: Duration = .seconds(9), _ adjust: (inout SupervisorConfiguration) -> Void = { _ in }
    ) {
        var configuration = SupervisorConfiguration(
            workerCount: workers, balance: balance, connectionsMax: connectionsMax, grace: grace, seed: 1)
        adjust(&configuration)
        state = SupervisorState(configuration: configuration, listeners: [0])
    }

    /// A pool whose workers are all ready, each with that much credit.
    static func serving(
        workers: Int = 2, credit: UInt32 = 100, balance: Balance = .leastLoaded, connectionsMax: Int = 1_000,
        grace: Duration = .seconds(9), _ adjust: (inout SupervisorConfiguration) -> Void = { _ in }
    ) -> Pool {
        var pool = Pool(workers: workers, balance: balance, connectionsMax: connectionsMax, grace: grace, adjust)
        pool.feed(.start)
        for slot in 0..<workers {
            pool.feed(.versionAgreed(pool.worker(slot), migrates: true))
            pool.feed(.ready(pool.worker(slot)))
            pool.page(slot, credit: credit)
        }
        pool.feed(.timer)
        return pool
    }

    func worker(_ slot: Int, _ incarnation: UInt32 = 0) -> WorkerID { WorkerID(slot: slot, incarnation: incarnation) }

    @discardableResult mutating func feed(_ event: Event) -> [Action] { state.handle(event, now: now) }

    @discardableResult mutating func page(
        _ slot: Int, adopted: SequenceNumber = 0, rejected: [Range<SequenceNumber>] = [], live: UInt32 = 0,
        credit: UInt32 = 100
    ) -> [Action] {
        feed(.page(slot, reading(adopted: adopted, rejected: rejected, live: live, credit: credit)))
    }

    func reading(
        adopted: SequenceNumber = 0, rejected: [Range<SequenceNumber>] = [], live: UInt32 = 0, credit: UInt32 = 100
    ) -> PageReading {
        PageReading(adopted: adopted, rejected: rejected, live: live, credit: credit, heartbeat: now)
    }

    @discardableResult mutating func die(
        _ worker: WorkerID, _ status: ExitStatus = .code(1), adopted: SequenceNumber = 0, live: UInt32 = 0
    ) -> [Action] {
        feed(.exited(worker, status, finalReading: reading(adopted: adopted, live: live)))
    }

    /// Accepts so many sockets, numbered on from the last.
    @discardableResult mutating func accept(_ count: Int = 1, sourceHash: UInt64 = 0) -> [Action] {
        let first = nextSocket
        nextSocket += Int32(count)
        return feed(
            .accepted(
                (first..<nextSocket).map {
                    AcceptedSocket(id: SocketID($0), listener: 0, sourceHash: sourceHash, acceptedAt: now)
                }))
    }

    /// Commands a replacement by a generation with these listeners.
    @discardableResult mutating func replaceAll(
        _ id: UInt32? = 1, _ reason: ReplacementReason = .reload, workers: Int = 2, listeners: Set<UInt16> = [0],
        changed: Set<UInt16> = [], _ adjust: (inout SupervisorConfiguration) -> Void = { _ in }
    ) -> [Action] {
        var configuration = SupervisorConfiguration(workerCount: workers, connectionsMax: 1_000, seed: 2)
        adjust(&configuration)
        return feed(
            .command(
                id.map { CommandID($0) },
                .replaceAll(reason: reason, configuration, listeners: listeners, changed: changed)))
    }

    /// Makes these workers ready, with credit.
    @discardableResult mutating func makeReady(_ workers: [WorkerID], migrates: Bool = true) -> [Action] {
        var actions: [Action] = []
        for worker in workers {
            actions += feed(.versionAgreed(worker, migrates: migrates))
            actions += feed(.ready(worker))
            actions += page(worker.slot)
        }
        return actions + feed(.timer)
    }

    /// A draining worker gives up a connection.
    @discardableResult mutating func offer(
        _ worker: WorkerID, number: UInt32 = 0, socket: Int32 = 900, listener: UInt16 = 0,
        isLastCopy: Bool = false
    ) -> [Action] {
        feed(
            .offered(
                worker, number: number,
                AcceptedSocket(id: SocketID(socket), listener: listener, sourceHash: 0, acceptedAt: now),
                isLastCopy: isLastCopy))
    }

    mutating func wait(_ duration: Duration) { now = now + duration }

    /// Lets the time pass, with every timer on its way; what was done.
    mutating func pass(_ duration: Duration) -> [Action] {
        let end = now + duration
        var actions: [Action] = []
        while let deadline = state.nextDeadline, deadline <= end {
            now = max(now, deadline)
            actions += feed(.timer)
        }
        now = end
        return actions
    }
}

extension [Action] {
    /// The numbers of the sockets sent to each slot, in order.
    func sent(to slot: Int) -> [Int32] {
        flatMap { action -> [Int32] in
            guard case .send(let worker, _, let sockets) = action, worker.slot == slot else { return [] }
            return sockets.map(\.rawValue)
        }
    }

    /// The number each packet begins at.
    var firstNumbers: [SequenceNumber] {
        compactMap { if case .send(_, let first, _) = $0 { first } else { nil } }
    }

    var spawned: [WorkerID] {
        compactMap { if case .spawn(let worker, _) = $0 { worker } else { nil } }
    }

    var killed: [WorkerID] {
        compactMap { if case .kill(let worker) = $0 { worker } else { nil } }
    }

    var closed: [Int32] {
        compactMap { if case .close(let socket, _) = $0 { socket.rawValue } else { nil } }
    }

    /// Workers told to drain, with the rate of their offers.
    var drained: [WorkerID: UInt32] {
        reduce(into: [:]) { if case .drain(let worker, _, let rate) = $1 { $0[worker] = rate } }
    }

    var answers: [CommandOutcome] {
        compactMap { if case .finished(_, let outcome) = $0 { outcome } else { nil } }
    }

    var reports: [SupervisorState.Report] {
        compactMap { if case .report(let report) = $0 { report } else { nil } }
    }

    var exitCode: ExitCode? {
        compactMap { if case .exit(let code) = $0 { code } else { nil } }.first
    }
}

extension CommandOutcome {
    var isDone: Bool { if case .done = self { true } else { false } }
    var isRefused: Bool { if case .refused = self { true } else { false } }
    var isFailed: Bool { if case .failed = self { true } else { false } }
}
