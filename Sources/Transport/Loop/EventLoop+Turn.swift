// One turn of the loop: what it waits for, and in which order it does what.
extension EventLoop {
    func turn(waitingUntil limit: MonotonicTime) throws(SystemError) {
        let decision = select()
        let count = decision == .skip ? 0 : try runHandler(decision, until: limit)
        if remote.wakeup.awoke() { state.pointee.statistics.wakeups &+= 1 }
        let start = now
        state.pointee.turnTime = start
        if !state.pointee.goingOn.isEmpty { goOnWithChannels() }
        for index in 0..<count { dispatch(batch[index]) }
        if !state.pointee.batchTasks.isEmpty { runBatchTasks() }
        let taskTime = runTimersAndTasks(turnStart: start)
        finishTurn(completionsDrained: decision != .skip && count < batch.count)
        endTurn(start: start, completions: count, taskTime: taskTime)
        if let error = state.pointee.handlerError { throw error }
    }

    private func select() -> SelectDecision {
        let end = state.pointee.turnEnd
        let hasWork =
            state.pointee.hasWorkForNextTurn || chunks.hasReturned || remote.taskCount > 0 || timers.earliest <= end
        let decision = state.pointee.selectStrategy.select(
            SelectContext(hasWork: hasWork, wasIdle: state.pointee.wasIdle, now: end))
        switch decision {
        case .skip where state.pointee.skipsInRow < SelectContext.skipsInRowMax:
            state.pointee.skipsInRow += 1
            return .skip
        case .block where !hasWork:
            state.pointee.skipsInRow = 0
            return .block
        case .skip, .poll, .block:
            state.pointee.skipsInRow = 0
            return .poll
        }
    }

    private func runHandler(_ decision: SelectDecision, until limit: MonotonicTime) throws(SystemError) -> Int {
        // A task is queued before its wake-up is signalled: when nobody has signalled since awoke(), which comes
        // before the queue is looked at, nothing is queued and the loop may sleep.
        try submitAll()
        guard decision == .block, state.pointee.submissions.isEmpty, remote.wakeup.prepareToSleep() else {
            return try handler.run(until: nil, into: batch)
        }
        state.pointee.statistics.sleeps &+= 1
        return try handler.run(until: min(timers.earliest, limit, state.pointee.reportLimiters.next), into: batch)
    }

    /// Runs what is due and what is queued; returns the time it took, or nil when there was nothing.
    private func runTimersAndTasks(turnStart: MonotonicTime) -> UInt64? {
        guard timers.earliest <= turnStart || remote.taskCount > 0 || !state.pointee.tailTasks.isEmpty else {
            return nil
        }
        let start = now
        timers.fireDue(turnStart)
        let ioNanoseconds = start.nanoseconds - turnStart.nanoseconds
        runTasks(by: taskConfiguration.deadline(from: start, ioNanoseconds: ioNanoseconds))
        runTailTasks()
        return now.nanoseconds - start.nanoseconds
    }

    /// Runs the tasks that are queued now; those that they queue wait for the next turn.
    private func runTasks(by deadline: MonotonicTime) {
        var left = remote.taskCount
        while left > 0 {
            let tasks = remote.takeTasks(min(left, TaskConfiguration.checkInterval))
            for task in tasks { task(self) }
            state.pointee.statistics.tasks &+= UInt64(tasks.count)
            left -= tasks.count
            if left > 0, now >= deadline { return }
        }
    }

    private func endTurn(start: MonotonicTime, completions: Int, taskTime: UInt64?) {
        let end = now
        state.pointee.turnEnd = end
        state.pointee.wasIdle = completions == 0 && taskTime == nil
        state.pointee.statistics.turns &+= 1
        state.pointee.statistics.completions &+= UInt64(completions)
        state.pointee.statistics.taskNanoseconds &+= taskTime ?? 0
        state.pointee.statistics.ioNanoseconds &+= end.nanoseconds - start.nanoseconds - (taskTime ?? 0)
        remote.publish(busyNanoseconds: state.pointee.statistics.busyNanoseconds)
        if let report {
            for due in state.pointee.reportLimiters.take(now: end, totals: reportTotals) { report(due) }
        }
    }

    private var reportTotals: ReportTotals {
        ReportTotals(
            completionQueueOverflowed: handler.overflowCount,
            receiveBuffersExhausted: state.pointee.statistics.receiveBuffersExhausted,
            memoryShortage: handler.shortageCount,
            splicesRefused: state.pointee.statistics.splicesRefused,
            tasksRejected: remote.rejectedTaskCount)
    }

    private func runBatchTasks() {
        swap(&state.pointee.batchTasks, &state.pointee.tasksInHand)
        runTasksInHand()
    }

    private func runTailTasks() {
        swap(&state.pointee.tailTasks, &state.pointee.tasksInHand)
        runTasksInHand()
    }

    /// Those that they ask for are not among them.
    private func runTasksInHand() {
        for task in state.pointee.tasksInHand { task() }
        state.pointee.tasksInHand.removeAll(keepingCapacity: true)
    }
}
