/// What is to run on a loop's thread.
///
/// Unchecked: what is in it was handed over by its caller, who either marked it `@Sendable` or was on the loop.
enum LoopTask: @unchecked Sendable {
    case function(() -> Void)
    /// Of the loop as a serial executor: of an actor that has it.
    case actorJob(UnownedJob)
    /// Of the loop as a task executor: of a task that prefers it.
    case taskJob(UnownedJob)
}

/// The tasks of a loop, first come first served whoever brings them. A plain value: the lock is its owner's.
struct LoopTaskQueue {
    enum Offer {
        /// The loop is going to look anyway.
        case taken
        /// The loop must be asked to look.
        case takenFirst
        /// The loop has shut down.
        case refused
    }

    private var tasks: [LoopTask] = []
    /// The loop has been asked to look, and has not found it empty since.
    private var isLooked = false
    private var isClosed = false
    /// Somebody runs what is in it, at the latest when the loop below ends.
    private var isBound = false

    /// More places than this are given back when they have been used.
    private static let capacityKept = 4096

    mutating func bind() { isBound = true }

    mutating func offer(_ task: LoopTask) -> Offer {
        guard !isClosed else { return .refused }
        tasks.append(task)
        guard !isLooked else { return .taken }
        isLooked = true
        return .takenFirst
    }

    /// Exchanges all tasks for `batch`, which is empty. When there are none, the next one to come asks the loop to look.
    mutating func take(into batch: inout [LoopTask]) {
        assert(batch.isEmpty)
        if tasks.isEmpty { isLooked = false }
        if batch.capacity > Self.capacityKept { batch = [] }
        swap(&tasks, &batch)
    }

    /// Refuses tasks from now on. Returns false, and goes on, when there are any.
    mutating func close() -> Bool {
        isClosed = tasks.isEmpty
        return isClosed
    }

    /// The loop below has refused to look. Returns nil when what was taken is run all the same, before its thread leaves it;
    /// else as ``abandon()``.
    mutating func abandonIfUnbound() -> [LoopTask]? { isBound ? nil : abandon() }

    /// Refuses tasks from now on, since nobody runs them. Returns those that are left, for the caller to drop without the lock.
    mutating func abandon() -> [LoopTask] {
        isClosed = true
        defer { tasks = [] }
        return tasks
    }
}
