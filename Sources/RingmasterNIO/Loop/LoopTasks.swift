import Glibc
import Synchronization

/// The tasks of one loop: takes them on any thread and runs them on the loop's.
///
/// Apart from the loop, so that executors need not keep it alive: a job that comes after its end is refused.
/// Unchecked: what changes is behind a lock, atomic, or touched on the loop's thread only.
final class LoopTasks: @unchecked Sendable {
    let remote: CoreLoopRemote
    private let queue = Mutex(LoopTaskQueue())
    private let refused = Atomic<Bool>(false)

    // Loop thread only.
    private var core: CoreLoop?
    /// One closure for all times; it keeps this object alive while the loop below may have it, until ``unbind()``.
    private var drainTask: () -> Void = {}
    /// The loop's thread is draining, or is going to. What other threads have asked for does not count: the loop below, once
    /// it stops, refuses them, and the loop's own tasks are run to its very end.
    private var isDrainDue = false
    private var batch: [LoopTask] = []
    private var position = 0

    /// Tasks run in one turn at most; then I/O has its turn.
    private static let countPerTurnMax = 4096

    init(_ remote: CoreLoopRemote) {
        self.remote = remote
    }

    /// Loop thread, or that which is going to be.
    func bind(_ core: CoreLoop, running executor: UnownedSerialExecutor, _ taskExecutor: UnownedTaskExecutor) {
        self.core = core
        queue.withLock { $0.bind() }
        drainTask = { [self] in
            isDrainDue = true
            switch drain(executor, taskExecutor) {
            case .all: isDrainDue = false
            case .tasksLeft: self.core?.executeAtEndOfTurn(drainTask)
            }
        }
    }

    /// Nothing is run any more: what is left is dropped. Loop thread, or when that has ended.
    func abandon() {
        _ = queue.withLock { $0.abandon() }
        batch = []
        position = 0
        unbind()
    }

    private func unbind() {
        core = nil
        drainTask = {}
    }

    /// Any thread. A task that comes too late is dropped with a line on standard error, as with SwiftNIO's own loops: nobody is
    /// there to be told, and it is a defect of the caller.
    func add(_ task: LoopTask) {
        if !offer(task) { complain() }
    }

    /// Any thread. Returns false when the task is dropped, since the loop has shut down or the loop below has ended.
    func offer(_ task: LoopTask) -> Bool {
        let offer = queue.withLock { $0.offer(task) }
        switch offer {
        case .refused:
            return false
        case .taken, .takenFirst:
            if remote.isCurrent, let core {
                drainLater(core)
                return true
            }
            // A loop below that stops takes none of these; then they are run when its thread is about to leave it.
            return offer == .taken || remote.executeBeyondBound { [self] _ in drainTask() }
                || queue.withLock { $0.abandonIfUnbound() } == nil
        }
    }

    private func drainLater(_ core: CoreLoop) {
        guard !isDrainDue else { return }
        isDrainDue = true
        core.executeAtEndOfTurn(drainTask)
    }

    private func complain() {
        guard !refused.exchange(true, ordering: .relaxed) else { return }
        let message = "RingmasterNIO: tasks were given to an event loop that has shut down: they do not run\n"
        _ = message.utf8CString.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count - 1) }
    }

    // MARK: Loop thread

    private enum Drained {
        case all
        case tasksLeft
    }

    private func drain(_ executor: UnownedSerialExecutor, _ taskExecutor: UnownedTaskExecutor) -> Drained {
        for _ in 0..<Self.countPerTurnMax {
            guard let task = next() else { return .all }
            switch task {
            case .function(let function): function()
            case .actorJob(let job): job.runSynchronously(on: executor)
            case .taskJob(let job): job.runSynchronously(on: taskExecutor)
            }
        }
        return .tasksLeft
    }

    /// The next task, those too that were added meanwhile; nil when there is none, and then the next to come asks to be run.
    private func next() -> LoopTask? {
        if position == batch.count {
            position = 0
            // Taken out of the object while the queue swaps with it: no exclusivity check has to be made.
            var emptied = batch
            batch = []
            emptied.removeAll(keepingCapacity: true)
            queue.withLock { $0.take(into: &emptied) }
            batch = emptied
            if batch.isEmpty { return nil }
        }
        defer { position += 1 }
        return batch[position]
    }

    /// Runs what there is, or as much of it as in a turn.
    func run() { drainTask() }

    /// Runs what there is, and refuses what comes then. Returns false when there is always more.
    func close() -> Bool {
        drainTask()
        guard position == batch.count, queue.withLock({ $0.close() }) else { return false }
        unbind()
        return true
    }
}
