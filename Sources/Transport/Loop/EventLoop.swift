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
    /// What changes: behind a pointer, where no exclusivity check is made.
    let state: UnsafeMutablePointer<EventLoopState>
    let batch: UnsafeMutableBufferPointer<Completion>
    let stopTimeout: Duration
    let taskConfiguration: TaskConfiguration
    let report: (@Sendable (EventLoopReport) -> Void)?
    /// Who is to be told of the end.
    var endings: [Ending] = []
    var hasRun = false
    /// ``run()`` has returned or is about to: the handler is gone, or left to itself.
    var hasEnded = false

    /// Completions dispatched per turn at most; what is left comes in the next turn, after timers and tasks.
    private static let batchMax = 1024
    /// More tail tasks, or tasks behind the completions, in one turn are a defect of who asks for them.
    private static let tailTasksMax = 65_536

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
        taskConfiguration = configuration.tasks
        report = configuration.report
        chunks = ChunkPool()
        state = .allocate(capacity: 1)
        let receiveBuffers = ReceiveBufferLedger(handler.receiveBuffers, configuration.receiveBuffers)
        state.initialize(
            to: EventLoopState(
                receiveBuffers, SplicePipes(max: configuration.splicePipesMax), configuration.selectStrategy))
        batch = .allocate(capacity: Self.batchMax)
    }

    deinit {
        if !hasRun {
            _ = remote.close()
            handler.destroy()
        }
        chunks.destroy()
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
        precondition(state.pointee.tailTasks.count < Self.tailTasksMax, "tail tasks without end")
        state.pointee.tailTasks.append(task)
    }

    /// Runs `task` once, when the completions of the current turn have been dispatched and before its timers and tasks;
    /// asked for later, in the next turn. For what is best done once for many completions. Loop thread.
    public func executeAfterCompletions(_ task: @escaping () -> Void) {
        preconditionOnLoop()
        precondition(state.pointee.batchTasks.count < Self.tailTasksMax, "tasks behind the completions without end")
        state.pointee.batchTasks.append(task)
    }
}
