import CSocket
import Glibc
import Handoff
import Logging
import Transport

/// The supervisor: performs what ``SupervisorState`` decides, on one loop.
///
/// This file has its life and the way events and actions take; workers, commands and the upgrade have files of their own.
public final class SupervisorProcess {
    /// The configuration of a generation, as far as its workers need it.
    typealias GenerationConfiguration = UpgradeImage.Configuration

    let setup: SupervisorSetup
    let loop: EventLoop
    let logger: Logger
    let reports: ReportLog
    var state: SupervisorState
    var sockets = SocketStore()
    var listeners: ListenerTable!
    /// By slot.
    var pages: [SupervisorPage] = []
    var handles: [WorkerHandle?] = []
    /// By slot: how its last worker ended that nobody had asked to.
    var lastWords: [Int: LastWords] = [:]
    var configurations: [Generation: GenerationConfiguration] = [:]
    var control: ControlServer?
    var preparation: Preparation?
    var reloadWaiting: UpgradeImage.Reload?
    /// A thread reads the configuration.
    var isReading = false
    /// The listeners are on their way out of this program.
    var isGivingUp = false
    /// This program's file; -1 until it is needed.
    var programDescriptor: Int32 = -1
    /// Why the process is to become the former program again, and how often that was tried.
    var returnReason: String?
    var returnAttempts = 0
    var check: ProgramCheck?
    /// The upgrade that this program is the outcome of, until its workers serve.
    var arrival: UpgradeImage?
    let startedAt: Int64
    var memoryTimer: LoopTimer?
    var returnTimer: LoopTimer?
    var noticeTimer: LoopTimer?

    private var timer: LoopTimer?
    private var signalWatch: ReadinessWatch?
    private let signalDescriptor: Int32
    private var arrivals: [AcceptedSocket] = []
    private var exitCode = ExitCode.internalError
    /// Events that came of performing actions, fed when the list at hand is done, each with its time.
    private var followUps: [(event: SupervisorState.Event, at: MonotonicTime)] = []
    /// What workers did not take of the list at hand.
    var refusals: [SupervisorState.Event] = []
    var reserve = DescriptorReserve()
    private var isFeeding = false

    /// A supervisor with its listeners bound. Blocks the signals it listens to: create it before any other thread.
    ///
    /// - Throws: a ``PlanError`` when an address cannot be bound or the control socket cannot be made, another error when
    ///   there is no ring or epoll instance.
    public convenience init(_ setup: SupervisorSetup) throws {
        try self.init(setup, resuming: nil)
        let ids = try listeners.prepare(setup.plan.listeners)
        listeners.commit(ids, setup.plan.listeners)
        configurations[0] = GenerationConfiguration(setup.plan, listeners: ids)
        state = SupervisorState(configuration: setup.plan.configuration, listeners: Set(ids))
        if let path = setup.controlPath {
            do throws(ControlSocketError) {
                control = try ControlServer(loop, path: path) { [unowned self] in asked($0, $1) }
            } catch {
                ListenerBinding.undo(listeners.serving.map(\.descriptor))
                throw PlanError(.cannotBind, "--control: \(error)")
            }
        }
        logListeners(ids)
    }

    /// A supervisor that goes on where the program left off that this process was before its exec. Until its new workers
    /// serve, a failure gives the process back to that program.
    ///
    /// - Throws: before anything of the image has been touched: ``UpgradeImage/giveBack(reason:)`` is possible.
    public convenience init(_ setup: SupervisorSetup, resuming image: UpgradeImage) throws {
        try self.init(setup, resuming: image as UpgradeImage?)
        try take(image)
    }

    private init(_ setup: SupervisorSetup, resuming image: UpgradeImage?) throws {
        self.setup = setup
        logger = setup.logger
        reports = ReportLog(logger: setup.logger, transport: setup.loopKind.transport)
        state = image?.state ?? SupervisorState(configuration: setup.plan.configuration, listeners: [])
        startedAt = image?.startedAt ?? Int64(time(nil))
        signal(SIGPIPE, SIG_IGN)
        let signals = Self.signals + [SIGCHLD]
        signalDescriptor = try SystemError.check(csocket_signalfd(signals, signals.count), "signalfd")
        var loopConfiguration = setup.loopKind.configuration
        // The supervisor accepts and polls: it receives no bytes.
        loopConfiguration.receiveBuffers = .none
        loopConfiguration.report = { [logger] in logger.warning("event loop: \($0)") }
        loop = try EventLoop(loopConfiguration)
        listeners = ListenerTable(loop) { [unowned self] in accepted($0, listener: $1) }
    }

    /// Serves until it is told to stop; then every worker is gone. Call it on the main thread, once.
    public func run() -> ExitCode {
        timer = LoopTimer(loop) { [unowned self] in feedAfterPages(.timer) }
        signalWatch = ReadinessWatch(loop, fd: signalDescriptor) { [unowned self] in takeSignals() }
        memoryTimer = LoopTimer(loop) { [unowned self] in readMemory() }
        noticeTimer = LoopTimer(loop) { [unowned self] in deliverNotices() }
        returnTimer = LoopTimer(loop) { [unowned self] in tryReturn() }
        loop.executeAtEndOfTurn { [unowned self] in begin() }
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

    private func begin() {
        reserve.refill(workerCount: state.wanted)
        readMemory()
        guard let arrival else { return feed(.start) }
        feed(.thawed)
        deliverNotices()
        // Children that ended while there was no signalfd are told of by no further signal.
        reap()
        arrived(arrival)
    }

    func logListeners(_ ids: [UInt16]) {
        for entry in listeners.serving where ids.contains(entry.id) {
            let bound = Socket.localAddress(of: entry.descriptor)
            logger.info("listening", metadata: ["address": "\(bound.map(String.init(describing:)) ?? "?")"])
        }
    }

    // MARK: Events

    private func accepted(_ descriptor: Int32, listener: UInt16) {
        if arrivals.isEmpty { loop.executeAtEndOfTurn { [unowned self] in feedArrivals() } }
        arrivals.append(sockets.accepted(descriptor, listener: listener, now: loop.turnTime))
    }

    func feedArrivals() {
        guard !arrivals.isEmpty else { return }
        let batch = arrivals
        arrivals.removeAll(keepingCapacity: true)
        feedAfterPages(.accepted(batch))
    }

    /// Loads are read at the moment of choice: the event and what the pages say have the same time.
    func feedAfterPages(_ event: SupervisorState.Event) {
        let now = MonotonicTime.now
        queuePages(now)
        feed(event, at: now)
    }

    func readPages(_ now: MonotonicTime) {
        queuePages(now)
        handleQueue()
    }

    private func queuePages(_ now: MonotonicTime) {
        for slot in handles.indices {
            guard let handle = handles[slot] else { continue }
            do throws(PageCorruption) {
                followUps.append((.page(slot, try pages[slot].read(sent: handle.sent)), now))
            } catch {
                logger.error(
                    "a worker's status page is corrupt",
                    metadata: ["slot": .stringConvertible(slot), "reason": "\(error)"])
                followUps.append((.pageCorrupt(slot), now))
            }
        }
    }

    func feed(_ event: SupervisorState.Event, at time: MonotonicTime = .now) {
        followUps.append((event, time))
        handleQueue()
    }

    private func handleQueue() {
        guard !isFeeding else { return }
        isFeeding = true
        var index = 0
        // Bounded by the state machine: each refusal or failed spawn takes something away that could cause another.
        while index < followUps.count {
            perform(state.handle(followUps[index].event, now: followUps[index].at))
            index += 1
            // Before anything else is decided: no socket may be sent to a worker that has not taken those before it.
            if !refusals.isEmpty {
                let now = MonotonicTime.now
                followUps.insert(contentsOf: (refusals + [.timer]).map { ($0, now) }, at: index)
                refusals.removeAll()
            }
        }
        followUps.removeAll(keepingCapacity: true)
        isFeeding = false
        reserve.adapt(workerCount: state.wanted)
        armTimer()
    }

    private func armTimer() {
        guard let deadline = state.nextDeadline else { return timer?.cancel() ?? () }
        if timer?.deadline != deadline { timer?.arm(at: deadline) }
    }

    // MARK: Signals

    private static let signals = [SIGTERM, SIGQUIT, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGTTIN, SIGTTOU]

    private func takeSignals() {
        while case let number = csocket_signalfd_next(signalDescriptor), number >= 0 {
            switch number {
            case SIGCHLD:
                reap()
            case SIGINT:
                logger.info("SIGINT: stopping at once")
                feed(.stop(.fast))
            case SIGTERM, SIGQUIT:
                if case .stopping = state.phase {
                    logger.info("a second signal: stopping at once")
                } else {
                    logger.info(
                        "stopping; a second signal stops at once", metadata: ["grace": "\(state.configuration.grace)"])
                }
                feed(.stop(.graceful))
            case SIGHUP: reload(nil)
            case SIGUSR2: upgrade(nil)
            case SIGTTIN: feed(.command(nil, .scale(.by(1))))
            case SIGTTOU: feed(.command(nil, .scale(.by(-1))))
            default:
                logger.notice("SIGUSR1 ignored: the log goes to standard error, there is no file to open again")
            }
        }
    }

    // MARK: Actions

    private func perform(_ actions: [SupervisorState.Action]) {
        var refused: Set<Int> = []
        for action in actions {
            switch action {
            case .spawn(let worker, let generation): spawn(worker, generation)
            case .send(let worker, let first, let ids):
                if !refused.contains(worker.slot), !send(worker, first, ids) { refused.insert(worker.slot) }
            case .release(let ids): sockets.close(ids)
            case .publishReleased(let slot, let number): pages[slot].publish(released: number)
            case .close(let id, _): sockets.close(id)
            case .pauseAccepting: listeners.pause()
            case .resumeAccepting: listeners.resume()
            case .closeListeners: closeListeners()
            case .retireListeners(let ids): retireListeners(ids)
            case .commit(let generation, _): commit(generation)
            case .rollBack(let generation, let reason): rollBack(generation, reason)
            case .finished(let command, let outcome): finished(command, outcome)
            case .takeOffer(let worker, let number, _): tellTaken(worker, number)
            case .refuseOffer(let worker, let number, let id):
                sockets.close(id)
                tell(worker, .offerRefused(number: number))
            case .drain(let worker, let milliseconds, let rate):
                let cutAt = MonotonicTime.now + .milliseconds(Int(milliseconds))
                tell(worker, .drain(cutAt: cutAt, migrationsPerSecond: rate))
            case .stopFast(let worker): tell(worker, .stop)
            case .abort(let worker): handle(of: worker)?.signal(SIGABRT)
            case .kill(let worker): handle(of: worker)?.signal(SIGKILL)
            case .report(let report): self.report(report)
            case .exit(let code): exit(code)
            }
        }
    }

    private func report(_ report: SupervisorState.Report) {
        guard case .workerDied(let worker, _, _, _) = report, let words = lastWords[worker.slot],
            words.incarnation == worker.incarnation
        else { return reports.log(report, workerCount: state.wanted) }
        reports.log(report, workerCount: state.wanted, ending: words.ending)
        guard !words.text.isEmpty else { return }
        logger.error("its last words", metadata: ["worker": .stringConvertible(worker.slot), "text": "\(words.text)"])
    }

    private func closeListeners() {
        listeners.drainAndClose { [unowned self] in
            feedArrivals()
            feed(.listenersClosed)
        }
    }

    private func retireListeners(_ ids: Set<UInt16>) {
        for entry in listeners.serving where ids.contains(entry.id) {
            let bound = Socket.localAddress(of: entry.descriptor) ?? entry.plan.address
            logger.info("listens no more", metadata: ["address": "\(bound)"])
        }
        listeners.retire(ids) { [unowned self] in
            feedArrivals()
            feed(.listenersRetired(ids))
        }
    }

    private func exit(_ code: ExitCode) {
        exitCode = code
        reports.logIntake(exhausted: listeners.exhaustedCount, failed: listeners.failedCount)
        reports.logCounters(pages)
        control?.close(reason: "the supervisor has stopped")
        check?.cancel()
        loop.remote.stop()
    }
}

extension UpgradeImage.Configuration {
    init(_ plan: SupervisorPlan, listeners: [UInt16]) {
        self.init(
            text: plan.text, listeners: listeners, descriptorsPerConnection: plan.descriptorsPerConnection,
            connectionsMax: plan.configuration.connectionsMax)
    }
}
