import Glibc
import Synchronization

/// What other threads may do with a loop: hand it a task, or ask it to stop.
public final class EventLoopRemote: Sendable {
    /// A task runs on the loop's thread and is given the loop.
    public typealias Task = @Sendable (EventLoop) -> Void

    /// Where the loop is in its life, as other threads have asked for.
    enum Life {
        case running
        /// Until no task has come for a while.
        case quiescing(ShutdownPlan)
        /// As soon as possible.
        case stopping
        /// No task is taken any more.
        case ended
    }

    private struct State {
        var tasks: TaskQueue<Task>
        var life = Life.running
    }

    private enum Offer {
        case taken
        case full
        case ended
    }

    let wakeup: Wakeup
    private let rejection: TaskRejectionPolicy
    private let state: Mutex<State>
    /// Of the queue. Sequential order with the wake-up's state: who has cleared that sees this, or is signalled again.
    private let waiting = Atomic<Int>(0)
    /// `life` is not `running` any more.
    private let endAsked = Atomic<Bool>(false)
    private let rejected = Atomic<UInt64>(0)
    private let busy = Atomic<UInt64>(0)
    /// The thread in ``EventLoop/run()``, or 0.
    private let thread = Atomic<pthread_t>(0)

    init(tasks configuration: TaskConfiguration = .init()) throws(SystemError) {
        configuration.validate()
        wakeup = try Wakeup()
        rejection = configuration.rejection
        state = Mutex(State(tasks: TaskQueue(countMax: configuration.countMax)))
    }

    // MARK: Any thread

    /// Runs `task` on the loop's thread, in the order of the calls of one thread. Any thread, the loop's too.
    ///
    /// - Returns: false when the loop has ended or its queue is full (``TaskConfiguration``): the task will not run.
    @discardableResult
    public func execute(_ task: @escaping Task) -> Bool {
        var offer = offer(task)
        if offer == .full {
            switch rejection {
            case .refuse:
                break
            case .call(let handle):
                handle(task)
            case .wait(let retries, let delay):
                for _ in 0..<retries where offer == .full && !isCurrent {
                    Self.sleep(delay)
                    offer = self.offer(task)
                }
            }
        }
        if offer != .taken { rejected.add(1, ordering: .relaxed) }
        return offer == .taken
    }

    /// Makes ``EventLoop/run()`` close every channel and return. Any thread, any number of times; it cuts short a
    /// ``shutdownGracefully(quietPeriod:timeout:)``.
    public func stop() {
        askToEnd { life in
            switch life {
            case .running, .quiescing: life = .stopping
            case .stopping, .ended: break
            }
        }
    }

    /// Closes every channel, then goes on with tasks until none has come for `quietPeriod`, or `timeout` (not shorter)
    /// has passed; then ``EventLoop/run()`` returns. Timers do not count. Any thread; calls after the first change
    /// nothing.
    public func shutdownGracefully(quietPeriod: Duration = .seconds(2), timeout: Duration = .seconds(15)) {
        precondition(quietPeriod >= .zero && timeout >= quietPeriod, "the timeout bounds the quiet period")
        askToEnd { life in
            if case .running = life { life = .quiescing(ShutdownPlan(quietPeriod: quietPeriod, timeout: timeout)) }
        }
    }

    /// Whether the caller is the loop's thread, inside ``EventLoop/run()``. Any thread.
    public var isCurrent: Bool { thread.load(ordering: .relaxed) == pthread_self() }

    /// Nanoseconds that the loop has been busy since it was made, up to its last turn. Any thread.
    public var busyNanoseconds: UInt64 { busy.load(ordering: .relaxed) }

    /// Tasks waiting now. Any thread.
    public var taskCount: Int { waiting.load(ordering: .sequentiallyConsistent) }

    /// Tasks that were refused so far. Any thread.
    public var rejectedTaskCount: UInt64 { rejected.load(ordering: .relaxed) }

    /// As ``execute(_:)``, but a full queue is left at that: for what may be dropped.
    func post(_ task: @escaping Task) {
        _ = offer(task)
    }

    /// As ``execute(_:)``, but a full queue takes it all the same: for those who have one task in it at most, which runs many
    /// of their own. Returns false when the loop has ended.
    package func executeBeyondBound(_ task: @escaping Task) -> Bool {
        offer(task, isBounded: false) == .taken
    }

    private func offer(_ task: @escaping Task, isBounded: Bool = true) -> Offer {
        let offer = state.withLock { state -> Offer in
            if case .ended = state.life { return .ended }
            guard state.tasks.append(task, isBounded: isBounded) else { return .full }
            waiting.store(state.tasks.count, ordering: .sequentiallyConsistent)
            return .taken
        }
        if offer == .taken { wakeup.signal() }
        return offer
    }

    private func askToEnd(_ change: (inout Life) -> Void) {
        state.withLock { change(&$0.life) }
        endAsked.store(true, ordering: .sequentiallyConsistent)
        wakeup.signal()
    }

    private static func sleep(_ duration: Duration) {
        let nanoseconds = duration.wholeNanoseconds
        var time = timespec(
            tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
        // A signal cuts it short: then the next attempt comes early.
        nanosleep(&time, nil)
    }

    // MARK: Loop thread

    /// The calling thread is the loop's from now on.
    func began() {
        thread.store(pthread_self(), ordering: .relaxed)
    }

    /// The loop has no thread any more.
    func ended() {
        thread.store(0, ordering: .relaxed)
    }

    /// Whether the caller may use the loop: it is the loop's thread, or the loop is not running.
    var mayUseLoop: Bool {
        let owner = thread.load(ordering: .relaxed)
        return owner == 0 || owner == pthread_self()
    }

    var isAskedToEnd: Bool { endAsked.load(ordering: .sequentiallyConsistent) }

    /// The plan of a graceful shutdown, as long as nobody wants it faster.
    var shutdownPlan: ShutdownPlan? {
        state.withLock { state in
            if case .quiescing(let plan) = state.life { plan } else { nil }
        }
    }

    /// The oldest tasks, `number` at most.
    func takeTasks(_ number: Int) -> [Task] {
        state.withLock { state in
            defer { waiting.store(state.tasks.count, ordering: .sequentiallyConsistent) }
            return state.tasks.take(number)
        }
    }

    /// Refuses tasks from now on; returns those that had been taken and must still run.
    func close() -> [Task] {
        state.withLock { state in
            state.life = .ended
            defer { waiting.store(0, ordering: .sequentiallyConsistent) }
            return state.tasks.take(state.tasks.count)
        }
    }

    func publish(busyNanoseconds: UInt64) {
        busy.store(busyNanoseconds, ordering: .relaxed)
    }
}
