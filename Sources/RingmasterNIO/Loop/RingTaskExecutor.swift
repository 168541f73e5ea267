import NIOCore

/// Runs asynchronous code on a loop's thread: `Task(executorPreference: loop.taskExecutor) { … }` does not leave it but for
/// actors that have another executor. A task that blocks holds up everything on the loop.
///
/// Apart from the loop, which is a serial executor itself: only so can the runtime run an actor without an executor of
/// its own on this thread as well, instead of hopping to another (SE-0417).
public final class RingTaskExecutor: TaskExecutor {
    private let tasks: LoopTasks

    init(_ tasks: LoopTasks) {
        self.tasks = tasks
    }

    /// Queues a job. Any thread.
    public func enqueue(_ job: consuming ExecutorJob) {
        tasks.add(.taskJob(UnownedJob(job)))
    }
}
