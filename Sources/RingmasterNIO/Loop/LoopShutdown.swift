import Dispatch
import NIOCore

/// How far the shutdown of a loop is.
enum LoopShutdown {
    case running
    /// Its channels are being closed; then the actions are called.
    case closingChannels([() -> Void])
    /// There are no channels, and there will be none; tasks go on.
    case withoutChannels

    /// Times that a loop runs what is left before it gives up on tasks that always bring others.
    static let roundsMax = 1000
    /// How long a channel's handlers may keep it from closing.
    static let patience: TimeAmount = .seconds(5)
}

/// The end of a loop: every channel is closed through its pipeline, what is queued is run, what is scheduled is told.
extension RingEventLoop {
    /// Whether channels may still be registered. Loop thread.
    var isOpen: Bool {
        if case .running = shutdown { true } else { false }
    }

    /// Closes every channel and takes no more of them. Any number of times; loop thread.
    ///
    /// - Parameters:
    ///   - patience: channels whose handlers keep them from closing for longer are closed without being asked. What the first
    ///     caller says counts.
    ///   - closed: called on the loop's thread when there are none.
    func closeChannels(patience: TimeAmount = LoopShutdown.patience, then closed: @escaping () -> Void) {
        switch shutdown {
        case .running:
            shutdown = .closingChannels([closed])
            let late = ScheduledWork(at: .now() + patience, run: { self.closeChannelsUnasked() }, dropped: { _ in })
            schedule(late)
            for channel in channels.values { channel.close(promise: nil) }
            if channels.isEmpty { channelsEnded() }
        case .closingChannels(let others):
            shutdown = .closingChannels(others + [closed])
        case .withoutChannels:
            closed()
        }
    }

    /// As ``closeChannels(patience:then:)``, then ``finish(then:)``.
    func shutDownIsolated(patience: TimeAmount = LoopShutdown.patience, ended: @escaping () -> Void) {
        closeChannels(patience: patience) { self.finish(then: ended) }
    }

    private func closeChannelsUnasked() {
        for channel in channels.values { channel.close0(error: EventLoopError.shutdown, mode: .all, promise: nil) }
    }

    /// The last channel is closed and its pipeline empty.
    func channelsEnded() {
        guard case .closingChannels(let actions) = shutdown else { return }
        shutdown = .withoutChannels
        for action in actions { action() }
    }

    /// Runs what is left, takes nothing any more, and calls `ended` then. When the channels have been closed; loop thread.
    func finish(then ended: @escaping () -> Void) {
        guard case .withoutChannels = shutdown else { preconditionFailure("a loop ends that has channels") }
        // Not from within a task: what is left is run to the end.
        core.executeAtEndOfTurn { [self] in
            precondition(close(), "the tasks of \(self) bring new ones for ever: it cannot shut down")
            ended()
        }
    }

    // MARK: The loop below ends by itself

    /// The loop below stops, though nobody has shut this one down: its channels are closed before their sockets are taken from
    /// them. Loop thread.
    func belowStops() {
        guard !hasClosed else { return }
        closeChannels {}
        closeChannelsUnasked()
    }

    /// The loop below has stopped, or its ring has failed: nothing turns any more. Whoever waits is told. Loop thread.
    func belowEnded() {
        guard !hasClosed else { return }
        belowStops()
        // Among it the ends of channels whose sockets are closed.
        tasks.run()
        // The others' the kernel has not let go of, and when it does nobody hears of it.
        for channel in channels.values { channel.released() }
        closeAnyway()
    }

    // MARK: For users of a loop

    /// Ends a loop that was put on a loop of Transport, which goes on without it: closes every channel, runs what is queued, and
    /// tells what is scheduled that it will not be; then calls `callback` on `queue`. Any number of times. A group's
    /// loops end with their group: theirs fails with `EventLoopError.unsupportedOperation`.
    public func shutdownGracefully(queue: DispatchQueue, _ callback: @escaping @Sendable ((any Error)?) -> Void) {
        guard !isOfGroup else { return queue.async { callback(EventLoopError.unsupportedOperation) } }
        let told: @Sendable () -> Void = { queue.async { callback(nil) } }
        let isTaken = tasks.offer(.function { self.shutDownIsolated(ended: told) })
        // It has ended before.
        if !isTaken { told() }
    }
}
