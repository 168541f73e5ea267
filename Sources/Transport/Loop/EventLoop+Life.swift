import CSocket

/// How a loop runs and ends.
extension EventLoop {
    /// What somebody who stands on a loop does at its end.
    struct Ending {
        var stopping: () -> Void
        var ended: () -> Void
    }

    /// For who stands on a loop and has more to end than its channels. Loop thread, or before ``run()``.
    ///
    /// - Parameters:
    ///   - stopping: called when the loop has been asked to end, before it closes any channel. Not when its ring has failed,
    ///     nor when the end has begun already.
    ///   - ended: called in any case when ``run()`` is about to return or to throw, on its thread: of what is begun from then
    ///     on nothing comes.
    package func whenEnding(stopping: @escaping () -> Void, ended: @escaping () -> Void) {
        preconditionOnLoop()
        endings.append(Ending(stopping: stopping, ended: ended))
    }

    private func tellEnded() {
        // What they refer to may refer to the loop.
        let endings = endings
        self.endings = []
        for ending in endings { ending.ended() }
    }

    /// Runs until ``EventLoopRemote/stop()`` or ``EventLoopRemote/shutdownGracefully(quietPeriod:timeout:)``, then
    /// closes every channel and frees everything. Once per loop.
    ///
    /// Meanwhile the thread holds SIGPIPE back (pthread_sigmask(3)), since sendfile(2) and splice(2) raise it: a process that is
    /// spawned on it inherits that.
    ///
    /// - Throws: when the kernel refuses the loop's ring for good; the process had better end.
    /// - Returns: how many channels had operations in flight when the stop timeout passed. 0 is the rule; their
    ///   memory has been leaked on purpose, because the kernel may still write to it.
    @discardableResult
    public func run() throws(SystemError) -> Int {
        precondition(!hasRun, "a loop runs once")
        hasRun = true
        let holdsSignal = csocket_hold_sigpipe() == 1
        remote.began()
        defer {
            if holdsSignal { csocket_release_sigpipe() }
            hasEnded = true
            remote.ended()
        }
        do throws(SystemError) {
            try runToEnd()
        } catch {
            _ = remote.close()
            tellEnded()
            leak()
            throw error
        }
        let unfinished = state.pointee.registrations.count
        if unfinished > 0 { leak() } else { handler.destroy() }
        return unfinished
    }

    private func runToEnd() throws(SystemError) {
        try handler.enable()
        giveFirstBuffers()
        state.pointee.turnEnd = now
        while !remote.isAskedToEnd {
            try turn(waitingUntil: .distantFuture)
        }
        for ending in endings { ending.stopping() }
        try waitForQuiet()
        for task in remote.close() { task(self) }
        try endChannels(by: now + stopTimeout)
        tellEnded()
        timers.removeAll()
    }

    /// Keeps the loop, its channels and its ring for ever: the kernel may still write to what they own.
    private func leak() {
        _ = Unmanaged.passRetained(self)
    }

    /// Goes on with the tasks of a graceful shutdown, the channels being closed meanwhile.
    private func waitForQuiet() throws(SystemError) {
        guard let plan = remote.shutdownPlan else { return }
        var quiet = QuietPeriod(plan, now: now)
        while remote.shutdownPlan != nil, let limit = quiet.nextLook(now: now, hasTasks: remote.taskCount > 0) {
            closeChannels()
            let tasksBefore = state.pointee.statistics.tasks
            try turn(waitingUntil: limit)
            if state.pointee.statistics.tasks != tasksBefore { quiet.tasksRan(state.pointee.turnEnd) }
        }
    }

    private func endChannels(by deadline: MonotonicTime) throws(SystemError) {
        while state.pointee.registrations.count > 0 || state.pointee.hasDeferredTasks, now < deadline {
            // In every turn, since a callback may make another.
            closeChannels()
            try turn(waitingUntil: deadline)
        }
    }

    private func closeChannels() {
        for channel in state.pointee.registrations.channels() where !channel.isClosing { channel.loopIsStopping() }
    }
}
