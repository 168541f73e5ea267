import CSocket
import Glibc
import Handoff
import Logging
import Transport

/// A worker: one loop, one service, one socket to the supervisor. Takes connections until told to leave.
public final class WorkerProcess {
    private let configuration: WorkerConfiguration
    private let control: HandoffSocket
    private let page: WorkerPage
    private let copies: SharedCopies
    private let service: any Service
    private let logger: Logger
    private let loop: EventLoop
    private var lifecycle: WorkerLifecycle
    private var emigration: Emigration?
    /// Connections that other workers have gone on with.
    private var movedAway = 0
    private var controlWatch: ReadinessWatch?
    private var signalWatch: ReadinessWatch?
    private var deadline: LoopTimer?
    private var heartbeat: LoopTimer?
    private var retry: LoopTimer?
    private var counted = ServiceStatistics()
    private var countedLoop = EventLoopStatistics()
    private var countedOverflows: UInt64 = 0
    /// Why it leaves early, once it has told the supervisor.
    private var failure: ExitCode?

    /// Hand-off packets taken per turn at most; the others wait for the next, after what those brought has been served.
    private static let packetsPerTurnMax = 16
    /// How often an idle worker shows that it lives.
    private static let heartbeatInterval: Duration = .milliseconds(500)
    /// How soon a worker looks again when the supervisor has not yet read its rejections.
    private static let rejectionRetry: Duration = .milliseconds(1)
    /// Idle connections are ended over a quarter of the grace, and no longer than this.
    private static let drainSpreadMax: Duration = .seconds(2)
    /// How long a service has to end at least, if it has anything besides connections. The supervisor kills a second after
    /// the cut.
    private static let stopPatienceMin: Duration = .milliseconds(500)
    /// Descriptors that a worker needs besides its connections and pipes: standard streams, ring, control, and a reserve.
    static let descriptorsReserved = 64

    /// A worker on a control socket and a status page inherited from the supervisor.
    ///
    /// - Throws: `SystemError` when there is no ring to be had.
    public init(
        _ configuration: WorkerConfiguration, control: HandoffSocket, page: StatusPage, service: any Service,
        logger: Logger
    ) throws(SystemError) {
        self.configuration = configuration
        self.control = control
        self.page = WorkerPage(page)
        copies = self.page.copies
        self.service = service
        self.logger = logger
        var loopConfiguration = configuration.loop
        loopConfiguration.report = { logger.warning("event loop: \($0)") }
        loop = try EventLoop(loopConfiguration)
        lifecycle = WorkerLifecycle(
            capacity: Self.capacity(
                connectionsMax: configuration.connectionsMax, perConnection: service.descriptorsPerConnection,
                pipeEnds: 2 * loopConfiguration.splicePipesMax))
    }

    /// Connections that fit both the configuration and the process's descriptor limit (RLIMIT_NOFILE).
    private static func capacity(connectionsMax: Int, perConnection: Int, pipeEnds: Int) -> Int {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return connectionsMax }
        let descriptors = Int(clamping: limit.rlim_cur) - descriptorsReserved - pipeEnds
        return max(1, min(connectionsMax, descriptors / perConnection))
    }

    /// Serves until told to leave. Call it on the process's main thread, once.
    public func run() -> ExitCode {
        signal(SIGPIPE, SIG_IGN)
        // The supervisor aborts a worker whose loop does not turn any more, and keeps what it says last.
        _ = csocket_backtrace_on_abort()
        say(.hello(version: Packet.version, pid: getpid(), incarnation: configuration.incarnation))
        begin()
        do throws(SystemError) {
            let unfinished = try loop.run()
            if unfinished > 0 {
                logger.error("connections would not close", metadata: ["count": .stringConvertible(unfinished)])
            }
        } catch {
            fail(.internalError, "the event loop failed: \(error)")
        }
        count()
        publish()
        if movedAway > 0 { logger.info("connections moved", metadata: ["count": .stringConvertible(movedAway)]) }
        if let failure { return failure }
        say(.drained(forced: UInt32(clamping: lifecycle.forced)))
        return lifecycle.exitCode
    }

    private func begin() {
        watchSignals()
        publish()
        let watch = ReadinessWatch(loop, fd: control.descriptor) { [unowned self] in receive() }
        controlWatch = watch
        let heartbeat = LoopTimer(loop) { [unowned self] in beat() }
        self.heartbeat = heartbeat
        beat()
        let ends = Emigration.Ends(
            moved: { [unowned self] in connectionMoved() }, stays: { [unowned self] in thaw($0) },
            exhausted: { [unowned self] in migrationEnded($0) })
        emigration = Emigration(loop, control: control, service: service, logger: logger, ends: ends)
        let host = ServiceHost(
            loop: loop, ready: { [unowned self] in perform(lifecycle.serviceReady()) },
            connectionEnded: { [unowned self] in connectionEnded() },
            frozen: { [unowned self] in emigration?.offer($0) }, failed: { [unowned self] in serviceFailed($0) })
        do {
            try service.start(host)
        } catch {
            serviceFailed(error)
        }
    }

    private func serviceFailed(_ error: any Error) {
        fail(.serviceFailed, "the service cannot \(lifecycle.phase == .starting ? "start" : "go on"): \(error)")
        cut()
    }

    private func fail(_ code: ExitCode, _ message: String) {
        failure = code
        logger.error("\(message)")
        say(.failed(code, message: message))
    }

    /// A packet to the supervisor. If it cannot be told, it learns from the exit status.
    private func say(_ packet: Packet) {
        let result = control.send(packet)
        if result != .sent { logger.debug("the supervisor was not told", metadata: ["result": "\(result)"]) }
    }

    // MARK: From the supervisor

    private func receive() {
        for _ in 0..<Self.packetsPerTurnMax {
            // What is not received is not adopted: the supervisor gives it to another worker.
            guard !lifecycle.isLeaving else { return }
            guard page.canReject || control.isPeerGone else {
                // A packet might need a rejection; the supervisor will have read the earlier ones in a moment. One that is
                // gone never will: then what it has sent is taken, and its end.
                return receiveAgain(after: Self.rejectionRetry)
            }
            switch control.receive() {
            case .packet(let packet, let fds, let fdsTruncated):
                control.version = control.versionHeard
                received(packet, fds, truncated: fdsTruncated)
            case .empty:
                return
            case .endOfFile:
                return orphaned()
            case .malformed(let error):
                return distrust("the supervisor sent something that is no packet: \(error)")
            case .failed(let code):
                return distrust("recvmsg: \(String(cString: strerror(code)))")
            }
        }
        receiveAgain(after: .zero)
    }

    /// The watch tells of edges only: what was left in the socket must be fetched without one.
    private func receiveAgain(after delay: Duration) {
        let retry = retry ?? LoopTimer(loop) { [unowned self] in receive() }
        self.retry = retry
        retry.arm(after: delay)
    }

    private func received(_ packet: Packet, _ fds: [Int32], truncated: Bool) {
        switch packet {
        case .connections(let first, let records):
            guard first == page.adopted else {
                for fd in fds { close(fd) }
                return distrust("connection \(first) came where \(page.adopted) was next")
            }
            adopt(first, records, fds)
        case .migrated(let first, let connection):
            guard first == page.adopted else {
                for fd in fds { close(fd) }
                return distrust("connection \(first) came where \(page.adopted) was next")
            }
            adopt(connection, fds)
        case .offerTaken(let number):
            if emigration?.taken(number) != true { distrust("offer \(number) was taken, which is not open") }
        case .offerRefused(let number):
            guard emigration?.refused(number) == true else {
                return distrust("offer \(number) was refused, which is not open")
            }
            page.add(1, to: .migrationsRefused)
        case .drain(let milliseconds, let migrationsPerSecond):
            perform(
                lifecycle.drain(
                    .milliseconds(Int(milliseconds)), then: .success, migrationsPerSecond: migrationsPerSecond))
        case .stop:
            cut()
        case .hello, .ready, .drained, .failed, .offer:
            for fd in fds { close(fd) }
            distrust("the supervisor sent a packet that only workers send")
        }
    }

    private func adopt(_ first: UInt64, _ records: [ConnectionRecord], _ fds: [Int32]) {
        if !fds.isEmpty {
            lifecycle.adopted(fds.count)
            // Before the first operation on them: from here on they live and die with this worker.
            page.adopt(fds.count, live: UInt32(lifecycle.live), credit: UInt32(lifecycle.credit))
            page.add(UInt64(fds.count), to: .accepted)
        }
        let missing = records.count - fds.count
        if missing > 0 { reject(missing) }
        var number = first
        for (record, fd) in zip(records, fds) {
            service.serve(
                IncomingConnection(
                    fd: fd, listener: record.listener, peer: record.peer, acceptedAt: record.acceptedAt,
                    isShared: true, sharedCopy: SharedCopy(copies, number: number)))
            number += 1
        }
    }

    /// A connection that another worker gave up.
    private func adopt(_ connection: MigratedConnection, _ fds: [Int32]) {
        // Of a connection that lost some of its sockets on the way, none has come.
        guard fds.count == connection.socketCount else {
            assert(fds.isEmpty)
            return reject(1)
        }
        lifecycle.adopted(1)
        page.adopt(1, live: UInt32(lifecycle.live), credit: UInt32(lifecycle.credit))
        page.add(1, to: .accepted)
        page.add(1, to: .migratedHere)
        let record = connection.record
        thaw(
            FrozenConnection(
                listener: record.listener, peer: record.peer, acceptedAt: record.acceptedAt, sockets: fds,
                state: connection.state))
    }

    /// Our descriptor table is full, and the kernel dropped what did not fit. The supervisor has its copies.
    private func reject(_ count: Int) {
        if !page.reject(count) {
            assert(control.isPeerGone, "canReject was asked before the packet was received")
            page.passOver(count)
        }
        page.add(UInt64(count), to: .rejected)
    }

    private func orphaned() {
        controlWatch?.stop()
        retry?.cancel()
        emigration?.recall()
        logger.warning("the supervisor has vanished: draining", metadata: ["grace": "\(configuration.orphanGrace)"])
        perform(lifecycle.drain(configuration.orphanGrace, then: .orphaned))
    }

    private func distrust(_ message: String) {
        controlWatch?.stop()
        fail(.internalError, message)
        cut()
    }

    // MARK: Signals

    /// The control socket is the way to stop a worker; signals are for an operator who has nothing else.
    private func watchSignals() {
        for ignored in [SIGHUP, SIGUSR1, SIGUSR2, SIGTTIN, SIGTTOU] { signal(ignored, SIG_IGN) }
        let signals = [SIGTERM, SIGQUIT, SIGINT]
        let fd = csocket_signalfd(signals, signals.count)
        guard fd >= 0 else { return logger.warning("no signalfd: signals end this worker at once") }
        signalWatch = ReadinessWatch(
            loop, fd: fd, ready: { [unowned self] in readSignals(fd) }, ended: { close(fd) })
    }

    private func readSignals(_ fd: Int32) {
        while case let number = csocket_signalfd_next(fd), number >= 0 {
            if number == SIGINT { cut() } else { perform(lifecycle.drain(configuration.orphanGrace, then: .success)) }
        }
    }

    // MARK: Doing

    private func connectionEnded() {
        page.add(1, to: .closed)
        perform(lifecycle.connectionEnded())
    }

    private func connectionMoved() {
        movedAway += 1
        page.add(1, to: .migratedAway)
        connectionEnded()
    }

    /// Has the service go on with a connection that came here frozen, or that was to leave and stays.
    private func thaw(_ frozen: consuming FrozenConnection) {
        let peer = frozen.peer
        if service.thaw(frozen) { return }
        logger.warning(
            "connection closed: what came with it makes no sense to the service", metadata: ["peer": "\(peer)"])
        page.add(1, to: .forcedClose)
        page.add(1, to: .closed)
        perform(lifecycle.connectionCut())
    }

    private func cut() { perform(lifecycle.cut(offered: emigration?.unanswered ?? 0)) }

    /// What only waits for its client would wait for the deadline. That may be as many as without migration, and then they
    /// are ended over a time as well.
    private func migrationEnded(_ remainder: Emigration.Remainder) {
        switch remainder {
        case .immovable: drainService(.zero)
        case .refused: drainService(deadline.map { $0.deadline - .now } ?? .zero)
        }
    }

    private func drainService(_ grace: Duration) {
        service.drain(spread: min(grace / 4, Self.drainSpreadMax))
    }

    private func perform(_ actions: [WorkerLifecycle.Action]) {
        for action in actions {
            switch action {
            case .sayReady:
                publish()
                say(.ready)
            case .drain(let grace):
                emigration?.end()
                drainService(grace)
                armDeadline(grace)
            case .migrate(let grace, let perSecond):
                emigration?.begin(perSecond: perSecond)
                armDeadline(grace)
            case .closeAll(let forced):
                cutAll(forced)
            case .stopLoop:
                stopService()
            }
        }
        publish()
    }

    /// The loop turns on until the service is done, or has had its time.
    private func stopService() {
        let remote = loop.remote
        let limit = LoopTimer(loop) { [logger] in
            logger.warning("the service was not done in time")
            remote.stop()
        }
        let left = deadline.flatMap { $0.isArmed ? $0.deadline - .now : nil } ?? .zero
        limit.arm(after: max(left, Self.stopPatienceMin))
        service.stop {
            limit.cancel()
            remote.stop()
        }
    }

    private func cutAll(_ forced: Int) {
        if forced > 0 {
            logger.warning("connections cut", metadata: ["count": .stringConvertible(forced)])
            page.add(UInt64(forced), to: .forcedClose)
        }
        emigration?.abandon()
        service.closeAll()
    }

    private func armDeadline(_ grace: Duration) {
        let due = MonotonicTime.now + grace
        if let deadline, deadline.isArmed, deadline.deadline <= due { return }
        let timer = deadline ?? LoopTimer(loop) { [unowned self] in cut() }
        deadline = timer
        timer.arm(at: due)
    }

    private func publish() {
        page.publish(live: UInt32(lifecycle.live), credit: UInt32(lifecycle.credit))
    }

    private func beat() {
        page.beat(at: .now, busyNanoseconds: loop.statistics.busyNanoseconds)
        count()
        heartbeat?.arm(after: Self.heartbeatInterval)
    }

    /// Adds what has been counted since the last time to the page, which goes on when this worker is gone.
    private func count() {
        let service = service.statistics
        let statistics = loop.statistics
        page.add(service.bytesReceived &- counted.bytesReceived, to: .bytesReceived)
        page.add(service.bytesSent &- counted.bytesSent, to: .bytesSent)
        page.add(service.upstreamConnectFailures &- counted.upstreamConnectFailures, to: .upstreamConnectFailures)
        page.add(
            statistics.receiveBuffersExhausted &- countedLoop.receiveBuffersExhausted, to: .receiveBuffersExhausted)
        page.add(statistics.staleCompletions &- countedLoop.staleCompletions, to: .staleCompletions)
        page.add(loop.completionOverflows &- countedOverflows, to: .completionOverflow)
        counted = service
        countedLoop = statistics
        countedOverflows = loop.completionOverflows
    }
}
