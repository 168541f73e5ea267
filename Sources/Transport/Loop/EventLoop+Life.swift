/// How a loop runs and ends.
extension EventLoop {
    /// Runs until ``EventLoopRemote/stop()``, then closes every channel and frees everything. Once per loop.
    ///
    /// - Throws: when the kernel refuses the loop's ring for good; the process had better end.
    /// - Returns: how many channels had operations in flight when the stop timeout passed. 0 is the rule; their
    ///   memory has been leaked on purpose, because the kernel may still write to it.
    @discardableResult
    public func run() throws(SystemError) -> Int {
        precondition(!hasRun, "a loop runs once")
        hasRun = true
        do throws(SystemError) {
            try runToEnd()
        } catch {
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
        while !remote.stopRequested {
            try turn(waitingUntil: .distantFuture)
        }
        for task in remote.close() { task(self) }
        try endChannels(by: now + stopTimeout)
        timers.removeAll()
    }

    /// Keeps the loop, its channels and its ring for ever: the kernel may still write to what they own.
    private func leak() {
        _ = Unmanaged.passRetained(self)
    }

    private func endChannels(by deadline: MonotonicTime) throws(SystemError) {
        while state.pointee.registrations.count > 0 || !tailTasks.isEmpty, now < deadline {
            // In every turn, since a callback may make another.
            for channel in state.pointee.registrations.channels() where !channel.isClosing { channel.loopIsStopping() }
            try turn(waitingUntil: deadline)
        }
    }
}
