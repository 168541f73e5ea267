import CSocket
import Glibc

/// Watches a descriptor that is not a stream of bytes (a signalfd, a pidfd, a control socket) for readiness.
/// Loop thread only.
public final class ReadinessWatch: Channel {
    private let events: UInt32
    private let ready: () -> Void
    private let ended: () -> Void

    /// Calls `ready` whenever `fd` becomes readable, or its peer is gone. It tells of edges: read until EAGAIN.
    ///
    /// - Parameters:
    ///   - fd: stays the caller's, who closes it in `ended` at the earliest.
    ///   - ended: is called once, when ``stop()`` has taken effect, the loop has stopped, or the kernel refuses to watch
    ///     `fd` (a regular file's, for one).
    public init(_ loop: EventLoop, fd: Int32, ready: @escaping () -> Void, ended: @escaping () -> Void = {}) {
        events = UInt32(POLLIN) | UInt32(CSOCKET_POLLRDHUP)
        self.ready = ready
        self.ended = ended
        super.init(loop, fd: fd)
        register()
        arm()
    }

    /// Watches no more.
    public func stop() {
        beginClosing()
    }

    private func arm() {
        submit(.poll(fd: fd, events: events, multishot: true), .poll)
    }

    override func completed(_ kind: OperationKind, _ completion: Completion) {
        switch kind {
        case .poll:
            guard !isClosing else { return }
            if completion.result > 0 { ready() }
            // A descriptor that cannot be watched, such as a regular file's: asking again would be a spin.
            if completion.result < 0, ![EAGAIN, EINTR, ECANCELED].contains(-completion.result) { return stop() }
            // A multishot poll may end after any edge (CQ overflow, for one): what counts is F_MORE alone.
            if !completion.hasMore, !isClosing { arm() }
        case .cancelPoll:
            cancellationCompleted()
        default:
            preconditionFailure("a watch does not \(kind)")
        }
    }

    override func released() {
        super.released()
        ended()
    }
}
