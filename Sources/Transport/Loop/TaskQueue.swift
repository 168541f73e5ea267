/// Tasks waiting for a loop, first come first served, up to a bound. A plain value: the lock is its owner's.
struct TaskQueue<Task> {
    /// Those before `head` have been taken.
    private var tasks: [Task?] = []
    private var head = 0
    let countMax: Int

    /// Taken places that are kept until they are given back all at once.
    private static var compactionMin: Int { 1024 }

    init(countMax: Int) {
        precondition(countMax >= 1)
        self.countMax = countMax
    }

    var count: Int { tasks.count - head }

    /// Returns false when the queue is full, unless it is to take one more than it should.
    mutating func append(_ task: Task, isBounded: Bool = true) -> Bool {
        guard count < countMax || !isBounded else { return false }
        tasks.append(task)
        return true
    }

    /// The `number` oldest tasks, or all when there are fewer.
    mutating func take(_ number: Int) -> [Task] {
        let end = min(head + number, tasks.count)
        var taken: [Task] = []
        taken.reserveCapacity(end - head)
        while head < end {
            if let task = tasks[head] { taken.append(task) }
            tasks[head] = nil
            head += 1
        }
        compact()
        return taken
    }

    private mutating func compact() {
        if head == tasks.count {
            tasks.removeAll(keepingCapacity: tasks.count <= Self.compactionMin)
            head = 0
        } else if head >= Self.compactionMin, head * 2 >= tasks.count {
            // As many moved as taken at most: constant per task.
            tasks.removeFirst(head)
            head = 0
        }
    }
}
