import Dispatch
import NIOCore

/// How far the shutdown of a loop is.
enum LoopShutdown {
    case running
    /// Its channels are being closed; then the action is called.
    case closingChannels(() -> Void)
    case ended

    /// Times that a loop runs what is left before it gives up on tasks that always bring others.
    static let roundsMax = 1000
}

/// The end of a group's loop: every channel is closed through its pipeline, what is queued is run, what is scheduled is told.
extension RingEventLoop {
    /// Whether channels may still be registered. Loop thread.
    var isOpen: Bool {
        if case .running = shutdown { true } else { false }
    }

    /// Begins to end. Once; any thread.
    ///
    /// - Parameters:
    ///   - patience: channels whose handlers keep them from closing for longer are closed without being asked.
    ///   - ended: called on the loop's thread when it takes nothing any more. The loop below ends next.
    func shutDown(patience: TimeAmount, ended: @escaping @Sendable () -> Void) {
        execute { [self] in shutDownIsolated(patience: patience, ended: ended) }
    }

    /// As ``shutDown(patience:ended:)``, on the loop.
    func shutDownIsolated(patience: TimeAmount, ended: @escaping () -> Void) {
        precondition(isOpen, "a loop is shut down once")
        shutdown = .closingChannels(ended)
        let late = _scheduleTaskIsolatedUnsafeUnchecked(in: patience) { [self] in
            for channel in channels.values {
                channel.close0(error: EventLoopError.shutdown, mode: .all, promise: nil)
            }
        }
        late.futureResult.whenFailure { _ in }
        for channel in channels.values { channel.close(promise: nil) }
        if channels.isEmpty { channelsEnded() }
    }

    /// The last channel is closed and its pipeline empty.
    func channelsEnded() {
        guard case .closingChannels(let ended) = shutdown else { return }
        shutdown = .ended
        // Not from within a task: what is left is run to the end.
        core.executeAtEndOfTurn { [self] in
            precondition(close(), "the tasks of \(self) bring new ones for ever: it cannot shut down")
            ended()
        }
    }

    /// A loop ends with its group: this fails.
    public func shutdownGracefully(queue: DispatchQueue, _ callback: @escaping @Sendable ((any Error)?) -> Void) {
        queue.async { callback(EventLoopError.unsupportedOperation) }
    }
}
