/// What changes in a loop from turn to turn. Loop thread only.
struct EventLoopState: ~Copyable {
    /// Submissions gathered before they are handed to the handler early.
    static let submissionsMax = 1024

    var registrations = RegistrationTable()
    var submissions = GrowingBuffer<Submission>(capacity: submissionsMax)
    /// Channels with something to send at the end of the turn.
    var dirty = GrowingBuffer<RegistrationID>(capacity: 256)
    /// Channels that go on at the beginning of the next turn; each at most once.
    var goingOn = GrowingBuffer<RegistrationID>(capacity: 64)
    /// Registrations that may be free now.
    var ending = GrowingBuffer<RegistrationID>(capacity: 256)
    /// Channels whose receive ended for want of buffers, in that order.
    var starved = GrowingBuffer<RegistrationID>(capacity: 64)
    /// Buffers to give to the handler at the end of the turn.
    var returns = GrowingBuffer<UInt16>(capacity: 512)
    var receiveBuffers: ReceiveBufferLedger
    /// The bytes that are being told, if a write may take them over where they lie.
    var lendable: LendableBytes?
    var splicePipes: SplicePipes
    var statistics = EventLoopStatistics()
    var handlerError: SystemError?
    var turnTime = MonotonicTime(nanoseconds: 0)
    /// When the turn before ended.
    var turnEnd = MonotonicTime(nanoseconds: 0)
    /// The turn before had no completion, no timer and no task.
    var wasIdle = false
    var selectStrategy: any SelectStrategy
    var skipsInRow = 0
    var tailTasks: [() -> Void] = []
    var batchTasks: [() -> Void] = []
    /// What is being run of either; else empty, and kept for its room.
    var tasksInHand: [() -> Void] = []
    var reportLimiters = ReportLimiters()

    init(
        _ receiveBuffers: consuming ReceiveBufferLedger, _ splicePipes: SplicePipes,
        _ selectStrategy: any SelectStrategy
    ) {
        self.receiveBuffers = receiveBuffers
        self.splicePipes = splicePipes
        self.selectStrategy = selectStrategy
    }

    /// Tail tasks, or tasks behind the completions, that wait for a turn.
    var hasDeferredTasks: Bool { !tailTasks.isEmpty || !batchTasks.isEmpty }

    /// Whether something waits for a turn rather than for a completion. Channels are freed last in a turn, and who
    /// is told of it may write to another channel or ask for a tail task.
    var hasWorkForNextTurn: Bool {
        !starved.isEmpty || !dirty.isEmpty || !goingOn.isEmpty || !ending.isEmpty || hasDeferredTasks
    }
}

/// Bytes that are being told to a channel, in a receive buffer that nothing else lies in.
struct LendableBytes {
    var bytes: UnsafeRawBufferPointer
    var buffer: UInt16

    /// Whether all of `part` is among them.
    func contains(_ part: UnsafeRawBufferPointer) -> Bool {
        guard let start = part.baseAddress, let first = bytes.baseAddress else { return false }
        return start >= first && start + part.count <= first + bytes.count
    }
}
