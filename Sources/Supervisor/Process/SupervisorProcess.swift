import CSocket
import Glibc
import Handoff
import Logging
import Transport

/// The supervisor: performs what ``SupervisorState`` decides, on one loop.
public final class SupervisorProcess {
    private var state: SupervisorState
    private let loop: EventLoop
    private let launcher: WorkerLauncher
    private let loopKind: LoopKind
    private let listenerNumbers: [UInt16]
    private let logger: Logger
    private let reports: ReportLog
    private var intake: Intake!
    private var pages: [SupervisorPage] = []
    private var handles: [WorkerHandle?]
    /// The sequence number after the last socket sent to each slot's worker.
    private var sent: [SequenceNumber]
    private var timer: LoopTimer?
    private var signalWatch: ReadinessWatch?
    private let signalDescriptor: Int32
    private var exitCode = ExitCode.internalError
    /// Events that came of performing actions, fed when the list at hand is done.
    private var followUps: [SupervisorState.Event] = []
    /// What workers did not take of the list at hand.
    private var refusals: [SupervisorState.Event] = []
    private var reserve: DescriptorReserve
    private var isFeeding = false

    /// A supervisor with its listeners bound. Blocks the signals it listens to: create it before any other thread.
    ///
    /// - Parameters:
    ///   - listeners: listening sockets, which it takes over.
    ///   - loopKind: how the supervisor and its workers reach the kernel.
    /// - Throws: when there is no ring or epoll instance, or a status page cannot be made.
    public init(
        _ configuration: SupervisorConfiguration, listeners: [Int32], launcher: WorkerLauncher,
        loopKind: LoopKind, logger: Logger
    ) throws {
        state = SupervisorState(
            configuration: configuration, listeners: Set((0..<listeners.count).map { UInt16($0) }))
        self.launcher = launcher
        self.loopKind = loopKind
        listenerNumbers = listeners.indices.map { UInt16($0) }
        self.logger = logger
        reports = ReportLog(
            logger: logger, workerCount: configuration.workerCount, transport: loopKind.transport)
        handles = Array(repeating: nil, count: configuration.workerCount)
        sent = Array(repeating: 0, count: configuration.workerCount)
        reserve = DescriptorReserve(workerCount: configuration.workerCount)
        signal(SIGPIPE, SIG_IGN)
        let signals = Self.stopSignals + Self.ignoredSignals.map(\.number) + [SIGCHLD]
        signalDescriptor = try SystemError.check(csocket_signalfd(signals, signals.count), "signalfd")
        var loopConfiguration = loopKind.configuration
        // The supervisor accepts and polls: it receives no bytes.
        loopConfiguration.receiveBuffers = .none
        loopConfiguration.report = { logger.warning("event loop: \($0)") }
        loop = try EventLoop(loopConfiguration)
        for slot in 0..<configuration.workerCount {
            pages.append(SupervisorPage(try StatusPage.create(slot: slot)))
        }
        intake = Intake(loop, descriptors: listeners) { [unowned self] in feedArrivals() }
    }

    private static let stopSignals = [SIGTERM, SIGQUIT, SIGINT]
    /// Signals that other commands of this kind act on, and that would end this one if left alone.
    private static let ignoredSignals: [(number: Int32, name: String)] = [
        (number: SIGHUP, name: "SIGHUP"), (SIGUSR1, "SIGUSR1"), (SIGUSR2, "SIGUSR2"), (SIGTTIN, "SIGTTIN"),
        (SIGTTOU, "SIGTTOU"),
    ]

    /// Serves until it is told to stop; then every worker is gone. Call it on the main thread, once.
    public func run() -> ExitCode {
        timer = LoopTimer(loop) { [unowned self] in feedAfterPages(.timer) }
        signalWatch = ReadinessWatch(loop, fd: signalDescriptor) { [unowned self] in takeSignals() }
        loop.executeAtEndOfTurn { [unowned self] in feed(.start) }
        loop.remote.execute { _ in }
        do throws(SystemError) {
            try loop.run()
        } catch {
            // The workers see their hand-off sockets end, and drain by themselves.
            logger.critical("the event loop failed", metadata: ["error": "\(error)"])
            return .internalError
        }
        return exitCode
    }

    // MARK: Events

    private func feedArrivals() {
        let arrivals = intake.takeArrivals()
        if !arrivals.isEmpty { feedAfterPages(.accepted(arrivals)) }
    }

    /// Loads are read at the moment of choice.
    private func feedAfterPages(_ event: SupervisorState.Event) {
        readPages()
        feed(event)
    }

    private func readPages() {
        for slot in handles.indices where handles[slot] != nil {
            do throws(PageCorruption) {
                let reading = try pages[slot].read(sent: sent[slot])
                feed(.page(slot, reading))
            } catch {
                logger.error("a worker's status page is corrupt", metadata: ["slot": "\(slot)", "reason": "\(error)"])
                feed(.pageCorrupt(slot))
            }
        }
    }

    private func feed(_ event: SupervisorState.Event) {
        followUps.append(event)
        guard !isFeeding else { return }
        isFeeding = true
        var index = 0
        // Bounded by the state machine: each refusal or failed spawn takes something away that could cause another.
        while index < followUps.count {
            perform(state.handle(followUps[index], now: .now))
            index += 1
            // Before anything else is decided: no socket may be sent to a worker that has not taken those before it.
            if !refusals.isEmpty {
                followUps.insert(contentsOf: refusals + [.timer], at: index)
                refusals.removeAll(keepingCapacity: true)
            }
        }
        followUps.removeAll(keepingCapacity: true)
        isFeeding = false
        armTimer()
    }

    private func armTimer() {
        guard let deadline = state.nextDeadline else { return timer?.cancel() ?? () }
        if timer?.deadline != deadline { timer?.arm(at: deadline) }
    }

    private func takeSignals() {
        while case let number = csocket_signalfd_next(signalDescriptor), number >= 0 {
            switch number {
            case SIGCHLD:
                reap()
            case SIGINT:
                logger.info("SIGINT: stopping at once")
                feed(.stop(.fast))
            case SIGTERM, SIGQUIT:
                logger.info(
                    "stopping; a second signal stops at once", metadata: ["grace": "\(state.configuration.grace)"])
                feed(.stop(.graceful))
            default:
                let name = Self.ignoredSignals.first { $0.number == number }?.name ?? "\(number)"
                logger.notice(
                    "signal ignored: reload, upgrade and scaling are not there yet", metadata: ["signal": "\(name)"])
            }
        }
    }

    /// Collects every child that has ended. As PID 1 of a container that includes orphans that are not our workers.
    private func reap() {
        var status: Int32 = 0
        while case let pid = waitpid(-1, &status, WNOHANG), pid > 0 {
            guard let handle = handles.compactMap({ $0 }).first(where: { $0.pid == pid }) else { continue }
            ended(handle, ExitStatus(waitStatus: status))
        }
    }

    private func ended(_ handle: WorkerHandle, _ status: ExitStatus) {
        let slot = handle.worker.slot
        // Its last words are still in the socket, and what it adopted last is still in the page.
        handle.isReaped = true
        while takePackets(handle) {}
        var final: PageReading?
        do throws(PageCorruption) {
            final = try pages[slot].read(sent: sent[slot])
        } catch {
            logger.error("a dead worker's status page is corrupt", metadata: ["slot": "\(slot)", "reason": "\(error)"])
        }
        handles[slot] = nil
        handle.release()
        feed(.exited(handle.worker, status, finalReading: final))
    }

    /// Takes what waits in turns of a few packets, so that no worker can keep the supervisor from the others.
    private func takePacketsInTurns(_ slot: Int) {
        guard let handle = handles[slot], takePackets(handle) else { return }
        loop.executeAtEndOfTurn { [unowned self] in takePacketsInTurns(slot) }
    }

    private static let packetsPerTurnMax = 16

    /// Takes a few packets from a worker; returns whether there may be more.
    private func takePackets(_ handle: WorkerHandle) -> Bool {
        for _ in 0..<Self.packetsPerTurnMax {
            guard let packet = takePacket(handle) else { return false }
            switch packet {
            case .hello: feed(.hello(handle.worker))
            case .ready: feed(.ready(handle.worker))
            case .drained(let forced): feed(.drained(handle.worker, forced: forced))
            case .failed(let code, let message): feed(.failed(handle.worker, code, message: message))
            case .connections, .migrated, .drain, .stop, .offerTaken, .offerRefused:
                distrust(handle, "it sent a supervisor's packet")
                return false
            case .offer:
                distrust(handle, "it offered a connection that nobody asked for")
                return false
            }
        }
        return true
    }

    private func takePacket(_ handle: WorkerHandle) -> Packet? {
        switch handle.control.receive() {
        case .packet(let packet, let fds, _):
            // A worker has none to send; what comes all the same must not stay open here.
            for fd in fds { close(fd) }
            return packet
        case .malformed(let error):
            distrust(handle, "it sent something that is no packet: \(error)")
            return nil
        case .empty, .endOfFile, .failed:
            return nil
        }
    }

    private func distrust(_ handle: WorkerHandle, _ reason: String) {
        logger.error("worker killed", metadata: ["worker": "\(handle.worker.slot)", "reason": "\(reason)"])
        handle.kill()
    }

    // MARK: Actions

    private func perform(_ actions: [SupervisorState.Action]) {
        var refused: Set<Int> = []
        for action in actions {
            switch action {
            case .spawn(let worker, _): spawn(worker)
            case .send(let worker, let first, let ids):
                if !refused.contains(worker.slot), !send(worker, first, ids) { refused.insert(worker.slot) }
            case .release(let ids): for id in ids { intake.close(id) }
            case .publishReleased(let slot, let number): pages[slot].publish(released: number)
            case .close(let id, _): intake.close(id)
            case .pauseAccepting: intake.pause()
            case .resumeAccepting: intake.resume()
            case .closeListeners: closeListeners()
            case .drain(let worker, let milliseconds, let rate):
                tell(worker, .drain(milliseconds: milliseconds, migrationsPerSecond: rate))
            case .stopFast(let worker): tell(worker, .stop)
            case .retireListeners, .commit, .rollBack, .finished, .takeOffer, .refuseOffer, .abort: break
            case .kill(let worker): handles[worker.slot]?.kill()
            case .report(let report): reports.log(report)
            case .exit(let code):
                exitCode = code
                reports.logIntake(exhausted: intake.exhaustedCount, failed: intake.failedCount)
                reports.logCounters(pages)
                loop.remote.stop()
            }
        }
    }

    private func closeListeners() {
        intake.drainAndClose { [unowned self] in
            feedArrivals()
            feed(.listenersClosed)
        }
    }

    private func spawn(_ worker: WorkerID) {
        let slot = worker.slot
        precondition(handles[slot] == nil, "a slot has one worker at a time")
        pages[slot].reset()
        sent[slot] = 0
        reserve.release()
        defer { reserve.refill() }
        do {
            let (ours, theirs) = try HandoffSocket.pair()
            let share = (state.configuration.connectionsMax - 1) / state.configuration.workerCount + 1
            let birth = WorkerBirth(
                slot: slot, incarnation: worker.incarnation, generation: 0, connectionsMax: share, loop: loopKind,
                listeners: listenerNumbers)
            let pid = try launcher.launch(birth, control: theirs.descriptor, page: pages[slot].page.descriptor)
            withExtendedLifetime(theirs) {}
            handles[slot] = WorkerHandle(
                loop, worker: worker, pid: pid, control: ours,
                packetsWaiting: { [unowned self] in takePacketsInTurns(slot) },
                processEnded: { [unowned self] in reap() })
        } catch {
            logger.error("a worker cannot be started", metadata: ["slot": "\(slot)", "error": "\(error)"])
            feed(.exited(worker, .code(ExitCode.internalError.rawValue), finalReading: nil))
        }
    }

    private func send(_ worker: WorkerID, _ first: SequenceNumber, _ ids: [SocketID]) -> Bool {
        guard let handle = handles[worker.slot] else { return false }
        let result = handle.control.send(
            connections: first, records: ids.map { intake.record($0) }, fds: ids.map(\.rawValue))
        let refusal: SupervisorState.SendRefusal
        switch result {
        case .sent:
            sent[worker.slot] = first + SequenceNumber(ids.count)
            return true
        case .full: refusal = .full
        case .tooManyInFlight: refusal = .tooManyInFlight
        case .peerGone: refusal = .gone
        case .failed(let code):
            // ENOBUFS, ENOMEM and the like pass: the sockets stay ours and are sent again.
            logger.warning(
                "hand-off failed", metadata: ["worker": "\(worker)", "error": "\(String(cString: strerror(code)))"])
            refusal = .full
        }
        refusals.append(.sendRefused(worker, first: first, refusal))
        return false
    }

    private func tell(_ worker: WorkerID, _ packet: Packet) {
        guard let handle = handles[worker.slot] else { return }
        let result = handle.control.send(packet)
        // A worker that cannot be told is ended by its deadline.
        if result != .sent {
            logger.debug("a worker was not told", metadata: ["worker": "\(worker)", "result": "\(result)"])
        }
    }
}
