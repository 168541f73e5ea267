import Synchronization

extension EventLoopRemote {
    /// Runs `body` on the loop's thread with a connection that another loop has let go of. Any thread.
    ///
    /// - Returns: false when the loop is stopping or its queue is full: the connection is closed, and
    ///   `body` will not run.
    @discardableResult
    public func adopt(
        _ detached: consuming DetachedConnection,
        _ body: @escaping @Sendable (EventLoop, consuming DetachedConnection) -> Void
    ) -> Bool {
        let parcel = Parcel(detached)
        return execute { loop in
            if let detached = parcel.take() { body(loop, detached) }
        }
    }
}

/// Carries a detached connection in a task's closure, which cannot own one; closes it when nobody takes it out.
private final class Parcel: Sendable {
    private let content: Mutex<DetachedConnection?>

    init(_ detached: consuming DetachedConnection) {
        content = Mutex(detached)
    }

    func take() -> DetachedConnection? {
        content.withLock { $0.take() }
    }
}
