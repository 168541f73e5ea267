import Synchronization

/// Whether and how a scheduled task is run again.
public enum Repetition: Hashable, Sendable {
    /// It runs once.
    case never
    /// Runs are due at multiples of the period (more than zero) after the first, however long they take. A loop that
    /// was held up makes good ``catchUpMax`` missed runs at most, one per turn; earlier ones are left out.
    case fixedRate(Duration)
    /// The delay (more than zero) passes between the end of a run and the start of the next.
    case fixedDelay(Duration)

    /// Missed runs that a fixed rate makes good.
    public static let catchUpMax = 8

    /// When the run after the one that was due at `due` and ended at `now` is due; nil when there is none.
    func next(after due: MonotonicTime, now: MonotonicTime) -> MonotonicTime? {
        switch self {
        case .never:
            return nil
        case .fixedDelay(let delay):
            return now + delay
        case .fixedRate(let period):
            let next = due + period
            guard next < now else { return next }
            let nanoseconds = max(1, period.wholeNanoseconds)
            let missed = (now.nanoseconds - next.nanoseconds) / nanoseconds
            guard missed > UInt64(Self.catchUpMax) else { return next }
            return MonotonicTime(nanoseconds: next.nanoseconds + (missed - UInt64(Self.catchUpMax)) * nanoseconds)
        }
    }

    fileprivate func validate() {
        switch self {
        case .never: break
        case .fixedRate(let period): precondition(period > .zero, "a rate has a period of more than zero")
        case .fixedDelay(let delay): precondition(delay > .zero, "runs have a delay of more than zero between them")
        }
    }
}

/// A task that a loop runs later, once or again and again. Dropping the handle changes nothing; the loop's end
/// drops the task.
public final class ScheduledTask: Sendable {
    private enum State: UInt8, AtomicRepresentable {
        case scheduled
        /// It has begun its only run.
        case ran
        case cancelled
    }

    private let repetition: Repetition
    private let remote: EventLoopRemote
    private let state = Atomic<State>(.scheduled)
    // Sendable: the loop's thread only. Weak, since an armed timer is kept by its loop, whose end drops it.
    private nonisolated(unsafe) weak var timer: LoopTimer?
    // When the coming run is due. Sendable: the loop's thread only.
    private nonisolated(unsafe) var due = MonotonicTime.distantFuture

    init(_ repetition: Repetition, _ remote: EventLoopRemote) {
        repetition.validate()
        self.repetition = repetition
        self.remote = remote
    }

    /// No run begins any more; one that has begun goes on. Any thread.
    ///
    /// - Returns: false when it made no difference: cancelled before, or the only run has begun.
    @discardableResult
    public func cancel() -> Bool {
        let hasCancelled = state.compareExchange(
            expected: .scheduled, desired: .cancelled, ordering: .acquiringAndReleasing
        ).exchanged
        guard hasCancelled else { return false }
        if remote.isCurrent {
            timer?.cancel()
        } else {
            // When the queue is full the timer stays until it is due, and does nothing then.
            remote.post { [self] _ in timer?.cancel() }
        }
        return true
    }

    /// Whether it was cancelled before its only run, or at any time if it repeats. Any thread.
    public var isCancelled: Bool { state.load(ordering: .acquiring) == .cancelled }

    fileprivate func arm(_ loop: EventLoop, after delay: Duration, _ action: @escaping () -> Void) {
        guard !isCancelled else { return }
        let timer = LoopTimer(loop) { [unowned loop, self] in
            if mayRun() {
                action()
                armAgain(loop)
            }
        }
        self.timer = timer
        due = loop.now + delay
        timer.arm(at: due)
    }

    /// Notes that the only run begins, if it is the only one.
    private func mayRun() -> Bool {
        guard repetition == .never else { return !isCancelled }
        return state.compareExchange(
            expected: .scheduled, desired: .ran, ordering: .acquiringAndReleasing
        ).exchanged
    }

    private func armAgain(_ loop: EventLoop) {
        guard !isCancelled, let next = repetition.next(after: due, now: loop.now) else { return }
        due = next
        timer?.arm(at: due)
    }
}

extension EventLoop {
    /// Runs `action` when `delay` has passed (zero and less: in the coming turn), and again as `repetition` says.
    /// A delay that ends after the clock does is for ever. Loop thread.
    @discardableResult
    public func schedule(
        after delay: Duration, repeating repetition: Repetition = .never, _ action: @escaping () -> Void
    ) -> ScheduledTask {
        let task = ScheduledTask(repetition, remote)
        task.arm(self, after: delay, action)
        return task
    }
}

extension EventLoopRemote {
    /// As ``EventLoop/schedule(after:repeating:_:)``, from any thread. The delay counts from the turn in which the
    /// loop takes the request up, by the loop's clock.
    ///
    /// - Returns: nil when ``execute(_:)`` would be refused.
    @discardableResult
    public func schedule(
        after delay: Duration, repeating repetition: Repetition = .never, _ action: @escaping Task
    ) -> ScheduledTask? {
        let task = ScheduledTask(repetition, self)
        let isTaken = execute { loop in
            task.arm(loop, after: delay) { [unowned loop] in action(loop) }
        }
        return isTaken ? task : nil
    }
}
