import Glibc

/// A thread's event loop: submits operations, waits, dispatches completions, then timers, tasks and writes.
///
/// Made on any thread; ``run()`` makes the calling thread its own for good. All else, and every channel and timer
/// of the loop, belongs to that thread; only ``remote`` may be used from another.
public final class EventLoop {
    /// What other threads may use.
    public let remote: EventLoopRemote
    let timers = TimerHeap()
    let chunks: ChunkPool
    let handler: any IOHandler
    let state: UnsafeMutablePointer<State>
    private let batch: UnsafeMutableBufferPointer<Completion>
    let stopTimeout: Duration
    private var selectStrategy: any SelectStrategy
    private var skipsInRow = 0
    private let taskConfiguration: TaskConfiguration
    private var tailTasks: [() -> Void] = []
    private var batchTasks: [() -> Void] = []
    /// What is being run of either; else empty, and kept for its room.
    private var tasksInHand: [() -> Void] = []
    private let report: (@Sendable (EventLoopReport) -> Void)?
    private var reportLimiters = ReportLimiters()
    /// Who is to be told of the end.
    var endings: [Ending] = []
    var hasRun = false
    /// ``run()`` has returned or is about to: the handler is gone, or left to itself.
    var hasEnded = false

    /// Completions dispatched per turn at most; what is left comes in the next turn, after timers and tasks.
    private static let batchMax = 1024
    /// More tail tasks, or tasks behind the completions, in one turn are a defect of who asks for them.
    private static let tailTasksMax = 65_536
    /// Submissions gathered before they are handed to the handler early.
    private static let submissionsMax = 1024

    /// What changes on the hot path: behind a pointer, where no exclusivity check is made.
    struct State: ~Copyable {
        var registrations = RegistrationTable()
        var submissions = GrowingBuffer<Submission>(capacity: EventLoop.submissionsMax)
        /// Channels with something to send at the end of the turn.
        var dirty = GrowingBuffer<RegistrationID>(capacity: 256)
        /// Registrations that may be free now.
        var ending = GrowingBuffer<RegistrationID>(capacity: 256)
        /// Channels whose receive ended for want of buffers, in that order.
        var starved = GrowingBuffer<RegistrationID>(capacity: 64)
        /// Buffers to give to the handler at the end of the turn.
        var returns = GrowingBuffer<UInt16>(capacity: 512)
        var receiveBuffers: ReceiveBufferLedger
        var statistics = EventLoopStatistics()
        var handlerError: SystemError?
        var turnTime = MonotonicTime(nanoseconds: 0)
        /// When the turn before ended.
        var turnEnd = MonotonicTime(nanoseconds: 0)
        /// The turn before had no completion, no timer and no task.
        var wasIdle = false

        init(_ receiveBuffers: consuming ReceiveBufferLedger) {
            self.receiveBuffers = receiveBuffers
        }
    }

    /// A loop on the configuration's transport.
    ///
    /// - Throws: `SystemError`, whose code says why there is no ring (EPERM, ENOSYS, EINVAL, ENOMEM, EMFILE), or no
    ///   epoll instance (EMFILE, ENFILE, ENOMEM).
    public convenience init(_ configuration: EventLoopConfiguration = .init()) throws(SystemError) {
        let remote = try EventLoopRemote(tasks: configuration.tasks)
        let handler: any IOHandler
        switch configuration.transport {
        case .ioUring:
            handler = try UringHandler(
                configuration.uring, buffers: configuration.receiveBuffers, wakeup: remote.wakeup)
        case .epoll:
            handler = try EpollHandler(
                configuration.epoll, buffers: configuration.receiveBuffers, wakeup: remote.wakeup)
        }
        self.init(handler: handler, remote: remote, configuration: configuration)
    }

    init(handler: any IOHandler, remote: EventLoopRemote, configuration: EventLoopConfiguration) {
        self.handler = handler
        self.remote = remote
        stopTimeout = configuration.stopTimeout
        selectStrategy = configuration.selectStrategy
        taskConfiguration = configuration.tasks
        report = configuration.report
        chunks = ChunkPool()
        state = .allocate(capacity: 1)
        state.initialize(to: State(ReceiveBufferLedger(handler.receiveBuffers, configuration.receiveBuffers)))
        batch = .allocate(capacity: Self.batchMax)
    }

    deinit {
        if !hasRun {
            _ = remote.close()
            handler.destroy()
        }
        state.deinitialize(count: 1)
        state.deallocate()
        batch.deallocate()
    }

    /// The counters. Loop thread.
    public var statistics: EventLoopStatistics {
        var statistics = state.pointee.statistics
        statistics.receiveBufferCount = UInt64(state.pointee.receiveBuffers.count)
        statistics.receiveBufferCountMax = UInt64(state.pointee.receiveBuffers.countMax)
        return statistics
    }

    /// How often the completion queue overflowed (nothing is lost; it costs time). Loop thread.
    public var completionOverflows: UInt64 { handler.overflowCount }

    /// How often the kernel had no memory for operations, and the loop rested a millisecond. Loop thread.
    public var memoryShortages: UInt64 { handler.shortageCount }

    /// When the current turn's wait ended: a clock that costs nothing to read. Loop thread.
    public var turnTime: MonotonicTime { state.pointee.turnTime }

    /// The time by the clock that the loop's timers go by. Loop thread.
    public var now: MonotonicTime { handler.now }

    /// Channels that are registered. Loop thread.
    public var channelCount: Int { state.pointee.registrations.count }

    /// Whether the caller is the loop's thread. Any thread, though others have only ``remote`` to ask.
    public var isCurrent: Bool { remote.isCurrent }

    /// States, in debug builds, that the caller may use the loop: it is on its thread, or the loop is not running.
    @inline(__always)
    public func preconditionOnLoop() {
        assert(remote.mayUseLoop, "a loop and all that belongs to it is for the loop's thread only")
    }

    /// Runs `task` once, at the end of the current turn, after all else but the writes. Loop thread.
    public func executeAtEndOfTurn(_ task: @escaping () -> Void) {
        preconditionOnLoop()
        precondition(tailTasks.count < Self.tailTasksMax, "tail tasks without end")
        tailTasks.append(task)
    }

    /// Runs `task` once, when the completions of the current turn have been dispatched and before its timers and tasks;
    /// asked for later, in the next turn. For what is best done once for many completions. Loop thread.
    public func executeAfterCompletions(_ task: @escaping () -> Void) {
        preconditionOnLoop()
        precondition(batchTasks.count < Self.tailTasksMax, "tasks behind the completions without end")
        batchTasks.append(task)
    }

    // MARK: A turn

    func turn(waitingUntil limit: MonotonicTime) throws(SystemError) {
        let decision = select()
        let count = decision == .skip ? 0 : try runHandler(decision, until: limit)
        if remote.wakeup.awoke() { state.pointee.statistics.wakeups &+= 1 }
        let start = now
        state.pointee.turnTime = start
        for index in 0..<count { dispatch(batch[index]) }
        if !batchTasks.isEmpty { runBatchTasks() }
        let taskTime = runTimersAndTasks(turnStart: start)
        finishTurn(completionsDrained: decision != .skip && count < batch.count)
        endTurn(start: start, completions: count, taskTime: taskTime)
        if let error = state.pointee.handlerError { throw error }
    }

    private func select() -> SelectDecision {
        let end = state.pointee.turnEnd
        let hasWork = hasWorkForNextTurn || remote.taskCount > 0 || timers.earliest <= end
        let decision = selectStrategy.select(
            SelectContext(hasWork: hasWork, wasIdle: state.pointee.wasIdle, now: end))
        switch decision {
        case .skip where skipsInRow < SelectContext.skipsInRowMax:
            skipsInRow += 1
            return .skip
        case .block where !hasWork:
            skipsInRow = 0
            return .block
        case .skip, .poll, .block:
            skipsInRow = 0
            return .poll
        }
    }

    private func runHandler(_ decision: SelectDecision, until limit: MonotonicTime) throws(SystemError) -> Int {
        // A task is queued before its wake-up is signalled: when nobody has signalled since awoke(), which comes
        // before the queue is looked at, nothing is queued and the loop may sleep.
        try submitAll()
        guard decision == .block, state.pointee.submissions.isEmpty, remote.wakeup.prepareToSleep() else {
            return try handler.run(until: nil, into: batch)
        }
        state.pointee.statistics.sleeps &+= 1
        return try handler.run(until: min(timers.earliest, limit, reportLimiters.next), into: batch)
    }

    /// Whether something waits for a turn rather than for a completion. Channels are freed last in a turn, and who
    /// is told of it may write to another channel or ask for a tail task.
    private var hasWorkForNextTurn: Bool {
        !state.pointee.starved.isEmpty || !state.pointee.dirty.isEmpty || !state.pointee.ending.isEmpty
            || hasDeferredTasks
    }

    /// Tail tasks, or tasks behind the completions, that wait for a turn.
    var hasDeferredTasks: Bool { !tailTasks.isEmpty || !batchTasks.isEmpty }

    /// Runs what is due and what is queued; returns the time it took, or nil when there was nothing.
    private func runTimersAndTasks(turnStart: MonotonicTime) -> UInt64? {
        guard timers.earliest <= turnStart || remote.taskCount > 0 || !tailTasks.isEmpty else { return nil }
        let start = now
        timers.fireDue(turnStart)
        let ioNanoseconds = start.nanoseconds - turnStart.nanoseconds
        runTasks(by: taskConfiguration.deadline(from: start, ioNanoseconds: ioNanoseconds))
        runTailTasks()
        return now.nanoseconds - start.nanoseconds
    }

    /// Runs the tasks that are queued now; those that they queue wait for the next turn.
    private func runTasks(by deadline: MonotonicTime) {
        var left = remote.taskCount
        while left > 0 {
            let tasks = remote.takeTasks(min(left, TaskConfiguration.checkInterval))
            for task in tasks { task(self) }
            state.pointee.statistics.tasks &+= UInt64(tasks.count)
            left -= tasks.count
            if left > 0, now >= deadline { return }
        }
    }

    private func endTurn(start: MonotonicTime, completions: Int, taskTime: UInt64?) {
        let end = now
        state.pointee.turnEnd = end
        state.pointee.wasIdle = completions == 0 && taskTime == nil
        state.pointee.statistics.turns &+= 1
        state.pointee.statistics.completions &+= UInt64(completions)
        state.pointee.statistics.taskNanoseconds &+= taskTime ?? 0
        state.pointee.statistics.ioNanoseconds &+= end.nanoseconds - start.nanoseconds - (taskTime ?? 0)
        remote.publish(busyNanoseconds: state.pointee.statistics.busyNanoseconds)
        if let report {
            for due in reportLimiters.take(now: end, totals: reportTotals) { report(due) }
        }
    }

    private var reportTotals: ReportTotals {
        ReportTotals(
            completionQueueOverflowed: handler.overflowCount,
            receiveBuffersExhausted: state.pointee.statistics.receiveBuffersExhausted,
            memoryShortage: handler.shortageCount,
            tasksRejected: remote.rejectedTaskCount)
    }

    @inline(__always)
    private func dispatch(_ completion: Completion) {
        let id = completion.userData.registration
        guard let kind = completion.userData.kind else {
            preconditionFailure("a completion with user data that nobody submitted")
        }
        if id.slot == 0 { return handler.handle(completion) }
        switch state.pointee.registrations.completed(kind, id, isTerminal: !completion.hasMore) {
        case .deliver(let channel):
            channel._withUnsafeGuaranteedRef { $0.completed(kind, completion) }
            if !completion.hasMore { state.pointee.ending.append(id) }
        case .stale:
            state.pointee.statistics.staleCompletions &+= 1
            if completion.buffer != nil { releaseBytes(of: completion) }
        }
    }

    private func runBatchTasks() {
        swap(&batchTasks, &tasksInHand)
        runTasksInHand()
    }

    private func runTailTasks() {
        swap(&tailTasks, &tasksInHand)
        runTasksInHand()
    }

    /// Those that they ask for are not among them.
    private func runTasksInHand() {
        for task in tasksInHand { task() }
        tasksInHand.removeAll(keepingCapacity: true)
    }

    /// Sends what is dirty, gives buffers back, resumes who waited for them, and frees what has ended.
    private func finishTurn(completionsDrained: Bool) {
        // What is appended to a list while it is walked is walked too.
        var index = 0
        while index < state.pointee.dirty.count {
            state.pointee.registrations.channel(state.pointee.dirty[index])?.flush()
            index += 1
        }
        state.pointee.dirty.removeAll()
        returnBuffers(completionsDrained: completionsDrained)
        index = 0
        while index < state.pointee.ending.count {
            let id = state.pointee.ending[index]
            if state.pointee.registrations.isEnding(id) { end(id) }
            index += 1
        }
        state.pointee.ending.removeAll()
    }

    /// Releases the registration's channel and frees its slot, if the kernel is done with either.
    private func end(_ id: RegistrationID) {
        if let channel = state.pointee.registrations.releaseIfDone(id) {
            handler.forget(id)
            channel._withUnsafeGuaranteedRef { $0.released() }
        }
        state.pointee.registrations.freeIfDone(id)?.release()
    }

    private func returnBuffers(completionsDrained: Bool) {
        if !state.pointee.starved.isEmpty { hold(state.pointee.receiveBuffers.grow()) }
        let returned = state.pointee.returns.count
        giveHeldBuffers()
        // With every completion dispatched the kernel has all buffers again; else it has those just returned.
        let available = completionsDrained ? state.pointee.receiveBuffers.count : returned
        let resumable = min(available, state.pointee.starved.count)
        for index in 0..<resumable {
            state.pointee.registrations.channel(state.pointee.starved[index])?.receiveBuffersReturned()
        }
        state.pointee.starved.removeFirst(resumable)
    }

    /// What the handler begins with.
    func giveFirstBuffers() {
        hold(0..<UInt16(state.pointee.receiveBuffers.count))
        giveHeldBuffers()
    }

    private func hold(_ ids: Range<UInt16>) {
        for id in ids { state.pointee.returns.append(id) }
    }

    /// Every buffer that the loop holds goes to the handler, all in one call: one publication to the kernel.
    private func giveHeldBuffers() {
        assert(state.pointee.returns.count == state.pointee.receiveBuffers.heldCount, "every held buffer is returned")
        guard !state.pointee.returns.isEmpty else { return }
        state.pointee.receiveBuffers.give(state.pointee.returns.elements)
        handler.giveBuffers(state.pointee.returns.elements, size: state.pointee.receiveBuffers.sizeGiven)
        state.pointee.returns.removeAll()
    }

    private func submitAll() throws(SystemError) {
        guard !state.pointee.submissions.isEmpty else { return }
        let taken = try handler.submit(state.pointee.submissions.elements)
        state.pointee.submissions.removeFirst(taken)
    }

    // MARK: For channels

    func register(_ channel: Channel) -> RegistrationID {
        preconditionOnLoop()
        precondition(!hasEnded, "a loop that has ended takes no channels")
        return state.pointee.registrations.register(channel)
    }

    /// Ends a registration: its channel is told by `released()` when nothing is in flight any more, at the end of this turn or later.
    func deregister(_ id: RegistrationID) {
        preconditionOnLoop()
        state.pointee.registrations.cancel(id)
        state.pointee.ending.append(id)
    }

    @inline(__always)
    func submit(_ operation: Operation, _ kind: OperationKind, _ id: RegistrationID) {
        preconditionOnLoop()
        state.pointee.registrations.began(kind, id)
        state.pointee.submissions.append(Submission(userData: UserData(kind, id), operation: operation))
        if state.pointee.submissions.count >= Self.submissionsMax {
            do throws(SystemError) {
                try submitAll()
            } catch {
                // Told at the end of the turn, where the loop ends in order.
                state.pointee.handlerError = error
                state.pointee.submissions.removeAll()
            }
        }
    }

    func isInFlight(_ kind: OperationKind, _ id: RegistrationID) -> Bool {
        state.pointee.registrations.isInFlight(kind, id)
    }

    /// Only the notification of the operation is still to come.
    func awaitNotification(_ kind: OperationKind, _ id: RegistrationID) {
        state.pointee.registrations.awaitNotification(kind, id)
        // It may be what the registration's release waited for.
        state.pointee.ending.append(id)
    }

    func awaitsNotification(_ kind: OperationKind, _ id: RegistrationID) -> Bool {
        state.pointee.registrations.awaitsNotification(kind, id)
    }

    @inline(__always)
    func markDirty(_ id: RegistrationID) {
        state.pointee.dirty.append(id)
    }

    /// Bytes of a receive buffer, all of which a received datagram may use.
    var receiveBufferSize: Int { state.pointee.receiveBuffers.sizeMax }

    /// The bytes that a completion brought, valid until ``releaseBytes(of:)``. Once per completion that names a buffer.
    @inline(__always)
    func receivedBytes(of completion: Completion) -> UnsafeRawBufferPointer {
        guard let buffer = completion.buffer else { return UnsafeRawBufferPointer(start: nil, count: 0) }
        return state.pointee.receiveBuffers.bytes(buffer, length: Int(max(0, completion.result)))
    }

    /// Nobody needs the completion's bytes any more. Once per completion that names a buffer.
    @inline(__always)
    func releaseBytes(of completion: Completion) {
        guard let buffer = completion.buffer else { return }
        let length = Int(max(0, completion.result))
        if state.pointee.receiveBuffers.consume(buffer, length: length, hasMore: completion.bufferHasMore) {
            state.pointee.returns.append(buffer)
        }
    }

    /// The channel's receive ended with ENOBUFS: it is told by `receiveBuffersReturned()`, in order of waiting.
    func waitForReceiveBuffers(_ id: RegistrationID) {
        state.pointee.starved.append(id)
        state.pointee.statistics.receiveBuffersExhausted &+= 1
    }
}
