import Glibc
import Transport

/// One run, on one loop: opens the connections, goes through the phases and counts. What flows on the connections is its
/// subclasses' to say. Loop thread only; it outlives the loop's ``EventLoop/run()``.
class LoadRun {
    let loop: EventLoop
    let plan: LoadPlan
    let pattern: BytePattern
    /// Behind a pointer, since the hot path changes it.
    let tally: UnsafeMutablePointer<Tally>
    var dialling: Dialling
    private var schedule: RunSchedule
    private var sampler: SecondSampler
    private var opening = ProcessTime(user: 0, system: 0)
    private var wasInterrupted = false
    private let begun = ProcessTime.now
    /// Connections that are open.
    private(set) var live = 0
    private var phaseTimer: LoopTimer?
    private var secondTimer: LoopTimer?
    private var progressTimer: LoopTimer?
    private var progress: ProgressLine
    private let reported: (LoadReport) -> Void
    private let progressText: (String) -> Void

    init(
        _ loop: EventLoop, _ plan: LoadPlan, pieceMax: Int, progress: @escaping (String) -> Void,
        reported: @escaping (LoadReport) -> Void
    ) {
        self.loop = loop
        self.plan = plan
        self.reported = reported
        progressText = progress
        pattern = BytePattern(pieceMax: pieceMax)
        var isBulk = false
        if case .bulk = plan.kind { isBulk = true }
        self.progress = ProgressLine(start: loop.now.nanoseconds, isBulk: isBulk)
        tally = .allocate(capacity: 1)
        tally.initialize(to: Tally())
        dialling = Dialling(wanted: plan.connections, atOnceMax: plan.connectAtOnce)
        schedule = RunSchedule(
            warmupNanoseconds: UInt64(plan.warmupSeconds * 1e9),
            measuredNanoseconds: plan.seconds.map { UInt64($0 * 1e9) },
            drainNanoseconds: UInt64(plan.drainSeconds * 1e9))
        sampler = SecondSampler(secondsMax: Int(plan.seconds ?? 0) + 1)
    }

    deinit {
        tally.deinitialize(count: 1)
        tally.deallocate()
    }

    // MARK: What a subclass says

    /// A connection was made; `index` is its number.
    func connected(_ fd: Int32, index: Int, startedAt: UInt64) {}
    /// The first phase in which messages are sent begins.
    func beginSending() {}
    /// The measured phase is about to end: what is due is due.
    func willStopSending() {}
    /// The last phase has begun: see to it that nothing more is sent and what is out comes back.
    func beginDraining() {}
    /// Whether nothing is out any more.
    var isDrained: Bool { true }
    /// Bytes that have flowed, where they are not counted as they come.
    func updateFlow() {}
    /// The run has ended: count what stays unanswered.
    func abandonUnanswered() {}
    /// What is unanswered, for people.
    var unansweredNoun: String { "messages were" }

    // MARK: The beginning

    /// Begins to connect, or, in a churn, at once with the work.
    func start() {
        phaseTimer = LoopTimer(loop) { [unowned self] in take(schedule.timeIsUp()) }
        secondTimer = LoopTimer(loop) { [unowned self] in sampleSecond() }
        progressTimer = LoopTimer(loop) { [unowned self] in tellProgress() }
        tellProgressLater()
        open()
    }

    func open() {
        while let index = dialling.next() { dial(index) }
    }

    private func dial(_ index: Int) {
        connect(index) { [unowned self] outcome, startedAt in
            dialling.ended(isOpen: outcome != nil)
            if let fd = outcome { connected(fd, index: index, startedAt: startedAt) }
            guard tally.pointee.phase == .opening else { return }
            open()
            if dialling.isComplete { finishOpening() }
        }
    }

    func finishOpening() {
        opening = ProcessTime.now - begun
        take(schedule.opened(isAnyOpen: live > 0))
    }

    /// Begins the phases without connections.
    func skipOpening() {
        take(schedule.opened(isAnyOpen: true))
    }

    /// One attempt to connect; `ended` is given the socket, or nil when there is none, which is counted.
    func connect(_ number: Int, ended: @escaping (Int32?, UInt64) -> Void) {
        var configuration = ConnectorConfiguration()
        configuration.localAddress = plan.sources?.address(number)
        let startedAt = loop.now.nanoseconds
        Connector.connect(loop, to: plan.target, configuration) { [unowned self] result in
            switch result {
            case .success(let socket):
                guard tally.pointee.phase != .ended else {
                    close(socket.fd)
                    return
                }
                tally.pointee.opened += 1
                live += 1
                ended(socket.fd, startedAt)
            case .failure(let error):
                if tally.pointee.phase != .ended {
                    tally.pointee.failed += 1
                    tally.pointee.note(.connecting, ConnectFailure.text(error, target: plan.target))
                }
                ended(nil, startedAt)
            }
        }
    }

    // MARK: Phases

    private func take(_ step: RunSchedule.Step?) {
        guard let step else { return }
        let now = loop.now.nanoseconds
        if tally.pointee.phase == .measuring { endMeasuring(now) }
        let wasSending = tally.pointee.phase.sends
        // What the warm-up counted was for who watches it.
        if tally.pointee.phase == .warmingUp { tally.pointee.flow = Tally.Flow() }
        tally.pointee.phase = schedule.phase
        switch step {
        case .warmUp(let nanoseconds):
            phaseTimer?.arm(at: MonotonicTime(nanoseconds: now &+ nanoseconds))
            beginSending()
        case .measure(let nanoseconds):
            beginMeasuring(now)
            if let nanoseconds { phaseTimer?.arm(at: MonotonicTime(nanoseconds: now &+ nanoseconds)) }
            if !wasSending { beginSending() }
        case .drain(let nanoseconds):
            phaseTimer?.arm(at: MonotonicTime(nanoseconds: now &+ nanoseconds))
            dialling.stop()
            beginDraining()
            finishIfDrained()
        case .end:
            finish()
        }
    }

    private func beginMeasuring(_ now: UInt64) {
        resetFlow()
        tally.pointee.windowStart = now
        sampler.begin(now, cpu: .now)
        secondTimer?.arm(at: MonotonicTime(nanoseconds: sampler.next))
        if plan.progressSeconds != nil { progressText("measuring from \(now) ns on the monotonic clock") }
    }

    /// The measured phase begins: count anew.
    func resetFlow() {}

    private func endMeasuring(_ now: UInt64) {
        tally.pointee.windowEnd = now
        willStopSending()
        updateFlow()
        sampler.end(now, cpu: .now, flow: tally.pointee.flow)
        secondTimer?.cancel()
        if plan.progressSeconds != nil { progressText("measured until \(now) ns on the monotonic clock") }
    }

    private func sampleSecond() {
        updateFlow()
        sampler.sample(loop.now.nanoseconds, cpu: .now, flow: tally.pointee.flow)
        secondTimer?.arm(at: MonotonicTime(nanoseconds: sampler.next))
    }

    func finishIfDrained() {
        if tally.pointee.phase == .draining, isDrained { take(schedule.drained()) }
    }

    /// Ends before the time, with what there is.
    func finishEarly() {
        take(schedule.finishEarly())
    }

    /// A user asks for the end.
    func interrupt() {
        wasInterrupted = true
        finishEarly()
    }

    private func finish() {
        phaseTimer?.cancel()
        progressTimer?.cancel()
        abandonUnanswered()
        let unanswered = tally.pointee.unanswered + tally.pointee.unansweredWarmup
        if unanswered > 0 {
            let limit = LoadReport.short(plan.drainSeconds)
            tally.pointee.note(
                .silence,
                "\(unanswered) \(unansweredNoun) not back whole \(limit) s after the end, or when the connection ended"
            )
        }
        reported(
            LoadReport(
                plan: plan, tally: tally.pointee, seconds: sampler.seconds, measured: sampler.total, opening: opening,
                wasInterrupted: wasInterrupted))
        loop.remote.stop()
    }

    // MARK: Connections that end

    /// A connection has ended. One that was to end at this time is not lost.
    func ended(lostBecause cause: @autoclosure () -> String?) {
        live -= 1
        guard tally.pointee.phase != .ended, let cause = cause() else { return }
        tally.pointee.lost += 1
        tally.pointee.note(.loss, cause)
    }

    /// With no connection left there is nothing to wait for.
    func finishIfDeserted() {
        if live == 0, tally.pointee.phase.sends { finishEarly() } else { finishIfDrained() }
    }

    /// Of what came back on a connection behind its first `start` bytes, something is not what belongs at `cursor`.
    func mismatched(_ bytes: UnsafeRawBufferPointer, from start: UInt64, at cursor: PatternCursor, connection: Int) {
        tally.pointee.verificationErrors += 1
        let place = start + UInt64(pattern.firstMismatch(bytes, at: cursor) ?? 0)
        // Damage may be anywhere; who does not echo shows at once.
        if start == 0, place < 16 { tally.pointee.strangers += 1 }
        tally.pointee.note(
            .wrongBytes, "connection \(connection): byte \(place) of the answer is not what was sent")
    }

    // MARK: Progress

    private func tellProgressLater() {
        if let seconds = plan.progressSeconds { progressTimer?.arm(after: .milliseconds(Int(seconds * 1000))) }
    }

    private func tellProgress() {
        updateFlow()
        progressText(progress.next(tally.pointee, live: live, now: loop.now.nanoseconds))
        tellProgressLater()
    }
}
