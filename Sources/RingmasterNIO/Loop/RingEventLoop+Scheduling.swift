import NIOCore

/// Work for a later time: a timer of the loop, and whom to tell if it never comes to it. Made on any thread, armed on the
/// loop's.
///
/// Unchecked: handed to the loop once, which alone touches it from then on.
final class ScheduledWork: @unchecked Sendable {
    let deadline: NIODeadline
    let run: () -> Void
    let dropped: (any Error) -> Void
    fileprivate var timer: CoreTimer?

    init(at deadline: NIODeadline, run: @escaping () -> Void, dropped: @escaping (any Error) -> Void) {
        self.deadline = deadline
        self.run = run
        self.dropped = dropped
    }
}

/// Later: timers of the loop below, one heap entry for each.
extension RingEventLoop {
    /// Runs `task` at `deadline`; those of one deadline in the order in which they were scheduled.
    @discardableResult
    public func scheduleTask<T>(
        deadline: NIODeadline, _ task: @escaping @Sendable () throws -> T
    ) -> Scheduled<T> {
        _scheduleTaskIsolatedUnsafeUnchecked(deadline: deadline, task)
    }

    /// Runs `task` after `delay`.
    @discardableResult
    public func scheduleTask<T>(in delay: TimeAmount, _ task: @escaping @Sendable () throws -> T) -> Scheduled<T> {
        _scheduleTaskIsolatedUnsafeUnchecked(deadline: .now() + delay, task)
    }

    /// As ``scheduleTask(in:_:)``, for what may only run on this loop. Loop thread.
    @discardableResult
    public func _scheduleTaskIsolatedUnsafeUnchecked<T>(
        in delay: TimeAmount, _ task: @escaping () throws -> T
    ) -> Scheduled<T> {
        _scheduleTaskIsolatedUnsafeUnchecked(deadline: .now() + delay, task)
    }

    /// As ``scheduleTask(deadline:_:)``, for what may only run on this loop. Loop thread.
    @discardableResult
    public func _scheduleTaskIsolatedUnsafeUnchecked<T>(
        deadline: NIODeadline, _ task: @escaping () throws -> T
    ) -> Scheduled<T> {
        let promise = makePromise(of: T.self)
        let work = ScheduledWork(
            at: deadline,
            run: {
                do {
                    promise.assumeIsolatedUnsafeUnchecked().succeed(try task())
                } catch {
                    promise.fail(error)
                }
            }, dropped: { promise.fail($0) })
        let id = schedule(work)
        // The promise is failed by `Scheduled` itself.
        return Scheduled(promise: promise, cancellationTask: { self.unschedule(id) { _ in } })
    }

    /// Calls `handler` at `deadline`: as ``scheduleTask(deadline:_:)`` without a promise.
    @discardableResult
    public func scheduleCallback(
        at deadline: NIODeadline, handler: some (NIOScheduledCallbackHandler & Sendable)
    ) -> NIOScheduledCallback {
        _scheduleCallbackIsolatedUnsafeUnchecked(at: deadline, handler: handler)
    }

    /// As ``scheduleCallback(at:handler:)``, for a handler that may only be called on this loop. Loop thread.
    @discardableResult
    public func _scheduleCallbackIsolatedUnsafeUnchecked(
        at deadline: NIODeadline, handler: some NIOScheduledCallbackHandler
    ) -> NIOScheduledCallback {
        let work = ScheduledWork(
            at: deadline, run: { handler.handleScheduledCallback(eventLoop: self) },
            dropped: { _ in handler.didCancelScheduledCallback(eventLoop: self) })
        return NIOScheduledCallback(self, id: schedule(work))
    }

    /// Calls `handler` after `delay`, which may only be called on this loop. Loop thread.
    @discardableResult
    public func _scheduleCallbackIsolatedUnsafeUnchecked(
        in delay: TimeAmount, handler: some NIOScheduledCallbackHandler
    ) -> NIOScheduledCallback {
        _scheduleCallbackIsolatedUnsafeUnchecked(at: .now() + delay, handler: handler)
    }

    /// Has the handler told that it was cancelled, unless it has been called.
    public func cancelScheduledCallback(_ scheduledCallback: NIOScheduledCallback) {
        guard let id = scheduledCallback.customCallbackID else {
            preconditionFailure("a callback of another event loop")
        }
        unschedule(id) { $0.dropped(EventLoopError.cancelled) }
    }

    // MARK: Timers

    /// On the loop, what comes after its end is told so. On other threads it is dropped, as any task: nobody is there to tell it.
    @discardableResult
    func schedule(_ work: ScheduledWork) -> UInt64 {
        let id = scheduledCount.add(1, ordering: .relaxed).newValue
        if inEventLoop { arm(work, id) } else { tasks.add(.function { self.arm(work, id) }) }
        return id
    }

    private func arm(_ work: ScheduledWork, _ id: UInt64) {
        guard !hasClosed else { return work.dropped(EventLoopError.shutdown) }
        scheduled[id] = work
        guard work.deadline < .distantFuture else { return }
        let timer = CoreTimer(core) { [unowned self] in scheduled.removeValue(forKey: id)?.run() }
        work.timer = timer
        timer.arm(at: CoreTime(nanoseconds: work.deadline.uptimeNanoseconds))
    }

    /// Not found, it has been run; or it was scheduled on another thread a moment ago, and is not armed yet. After the loop's
    /// end it has been told already.
    private func unschedule(_ id: UInt64, then told: @escaping (ScheduledWork) -> Void) {
        if inEventLoop, disarm(id, told) { return }
        _ = tasks.offer(.function { _ = self.disarm(id, told) })
    }

    private func disarm(_ id: UInt64, _ told: (ScheduledWork) -> Void) -> Bool {
        guard let work = scheduled.removeValue(forKey: id) else { return false }
        work.timer?.cancel()
        told(work)
        return true
    }

    /// Drops all that is scheduled. Returns whether there was any.
    func failScheduled(_ error: any Error) -> Bool {
        let all = scheduled.sorted { $0.key < $1.key }
        for (id, _) in all { _ = disarm(id) { $0.dropped(error) } }
        return !all.isEmpty
    }
}
