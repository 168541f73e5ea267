import Synchronization

/// What other threads may do with a loop: hand it a task, or ask it to stop.
public final class EventLoopRemote: Sendable {
    /// A task runs on the loop's thread and is given the loop.
    public typealias Task = @Sendable (EventLoop) -> Void

    private struct Queue {
        var tasks: [Task] = []
        var isClosed = false
        var stopRequested = false
    }

    /// Tasks waiting at once; one more is refused.
    public static let taskCountMax = 65_536

    let wakeup: Wakeup
    private let queue = Mutex(Queue())

    init() throws(SystemError) {
        wakeup = try Wakeup()
    }

    /// Runs `task` on the loop's thread, in the order of the calls of one thread. Any thread, the loop's too.
    ///
    /// - Returns: false when the loop is stopping or ``taskCountMax`` tasks are waiting: the task will not run.
    @discardableResult
    public func execute(_ task: @escaping Task) -> Bool {
        let isTaken = queue.withLock { queue in
            guard !queue.isClosed, queue.tasks.count < Self.taskCountMax else { return false }
            queue.tasks.append(task)
            return true
        }
        if isTaken { wakeup.signal() }
        return isTaken
    }

    /// Makes ``EventLoop/run()`` close every channel and return. Any thread, any number of times.
    public func stop() {
        queue.withLock { $0.stopRequested = true }
        wakeup.signal()
    }

    var stopRequested: Bool {
        queue.withLock { $0.stopRequested }
    }

    /// What is waiting now, in order.
    func takeTasks() -> [Task] {
        queue.withLock { queue in
            let tasks = queue.tasks
            queue.tasks.removeAll(keepingCapacity: tasks.count < 1024)
            return tasks
        }
    }

    /// Refuses tasks from now on; returns those that had been taken and must still run.
    func close() -> [Task] {
        queue.withLock { queue in
            queue.isClosed = true
            defer { queue.tasks = [] }
            return queue.tasks
        }
    }
}
