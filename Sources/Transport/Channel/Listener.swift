import CSocket
import Glibc

/// A listening socket with a multishot accept. Loop thread only.
///
/// Nothing accepted is lost: sockets that were accepted before a pause took effect are still handed over, and
/// ``drainAndClose(_:)`` empties the kernel's queue before it closes.
public final class Listener: Channel {
    private enum State {
        case accepting
        /// Nothing is accepted; the kernel's queue holds new connections.
        case paused
        /// As paused, until the timer ends it: the kernel had no descriptor or memory left.
        case backingOff
        /// The accept is being cancelled, then the queue emptied, then the socket closed.
        case draining
    }

    /// Accepts failed for want of a resource (EMFILE, ENFILE, ENOBUFS, ENOMEM); the connections stay queued.
    public private(set) var exhaustedCount: UInt64 = 0
    /// Accepts that failed otherwise, such as ECONNABORTED: the peer had gone.
    public private(set) var failedCount: UInt64 = 0
    /// Connections accepted.
    public private(set) var acceptedCount: UInt64 = 0

    /// How long accepting rests when a resource is exhausted, instead of spinning on the same error.
    public static let exhaustedPause: Duration = .milliseconds(50)

    /// Connections taken from the queue before closing, at most: the longest queue there can be. Clients that keep coming
    /// must not keep a listener open.
    private static let drainMax = 65_536

    private let accepted: (Int32) -> Void
    private var state = State.paused
    /// Ends a rest after a resource was exhausted.
    private lazy var timer = LoopTimer(loop) { [unowned self] in rested() }
    private var closed: (() -> Void)?
    private var detached: ((Int32) -> Void)?
    private let unixPath: String?

    /// Takes ownership of a listening socket in blocking mode, and begins with accepting paused.
    ///
    /// - Parameters:
    ///   - removesPath: whether a Unix-domain path that it is bound to goes when the socket is closed.
    ///   - accepted: is given each accepted socket: close-on-exec, blocking mode, the callee's to close.
    public init(_ loop: EventLoop, fd: Int32, removesPath: Bool = true, accepted: @escaping (Int32) -> Void) {
        self.accepted = accepted
        if removesPath, case .unix(let path)? = Socket.localAddress(of: fd), !path.hasPrefix("@") {
            unixPath = path
        } else {
            unixPath = nil
        }
        super.init(loop, fd: fd)
        register()
    }

    /// The address really bound, its port included; nil when the listener is closed.
    public var localAddress: SocketAddress? { isReleased ? nil : Socket.localAddress(of: fd) }

    /// Whether connections are accepted, or would be if there were descriptors.
    public var isAccepting: Bool { state == .accepting || state == .backingOff }

    /// Whether ``drainAndClose(_:)`` was called.
    public var isDraining: Bool { state == .draining }

    /// Accepts from now on.
    public func resume() {
        guard state == .paused, !isClosing else { return }
        state = .accepting
        arm()
    }

    /// Stops accepting. Connections accepted already are still handed over, in this turn or the next.
    public func pause() {
        guard isAccepting, !isClosing else { return }
        timer.cancel()
        state = .paused
        cancel(.accept)
    }

    /// Stops accepting, hands over every connection that has reached the queue, closes, then calls `closed`.
    public func drainAndClose(_ closed: @escaping () -> Void) {
        guard state != .draining, !isClosing else { return }
        timer.cancel()
        state = .draining
        self.closed = closed
        cancel(.accept)
        if !isInFlight(.accept) { drain() }
    }

    /// Gives the listening socket up, open and in blocking mode, for another owner in this or another process: stops
    /// accepting, hands over every connection that was accepted already, then calls `detached` with it, from the loop
    /// and never from within this call. What is in the kernel's queue stays there.
    public func detach(_ detached: @escaping (Int32) -> Void) {
        precondition(state != .draining && !isClosing, "a listener that closes cannot be given up")
        timer.cancel()
        state = .paused
        self.detached = detached
        beginClosing()
    }

    private func arm() {
        if !isInFlight(.accept) { submit(.accept(fd: fd), .accept) }
    }

    override func completed(_ kind: OperationKind, _ completion: Completion) {
        switch kind {
        case .accept:
            acceptCompleted(completion)
        case .cancelAccept:
            // It may have been aimed at an earlier accept: reading its result would not tell.
            if isClosing { cancellationCompleted() } else if !isAccepting { cancel(.accept) }
        default:
            preconditionFailure("a listener does not \(kind)")
        }
    }

    private func acceptCompleted(_ completion: Completion) {
        if completion.result >= 0 {
            acceptedCount &+= 1
            accepted(completion.result)
        }
        guard !completion.hasMore, !isClosing else { return }
        switch state {
        case .accepting: rearm(after: completion.result)
        case .draining: if !timer.isArmed { drain() }
        case .paused, .backingOff: break
        }
    }

    private func rearm(after result: Int32) {
        switch -result {
        case _ where Self.isExhaustion(result):
            exhaustedCount &+= 1
            backOff()
        case EBADF, EINVAL, ENOTSOCK, EOPNOTSUPP:
            // The descriptor is no listening socket: a defect that must not become a spin.
            failedCount &+= 1
            backOff()
        default:
            if result < 0, result != -ECANCELED { failedCount &+= 1 }
            arm()
        }
    }

    private static func isExhaustion(_ result: Int32) -> Bool {
        [EMFILE, ENFILE, ENOBUFS, ENOMEM].contains(-result)
    }

    private func backOff() {
        state = .backingOff
        timer.arm(after: Self.exhaustedPause)
    }

    private func rested() {
        guard !isClosing else { return }
        switch state {
        case .backingOff:
            state = .accepting
            arm()
        case .draining: drain()
        case .accepting, .paused: preconditionFailure("the timer is cancelled when the rest ends early")
        }
    }

    /// Closing a listener resets what is in its queue (tcp(7) says nothing of it; inet_csk_listen_stop() does it).
    private func drain() {
        // Only now: io_uring would fail an accept on a non-blocking socket instead of waiting.
        _ = fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK)
        for _ in 0..<Self.drainMax {
            let result = csocket_accept(fd)
            if result >= 0 {
                acceptedCount &+= 1
                accepted(result)
            } else if Self.isExhaustion(result) {
                exhaustedCount &+= 1
                return timer.arm(after: Self.exhaustedPause)
            } else if [ECONNABORTED, EPROTO, EPERM].contains(-result) {
                failedCount &+= 1
            } else {
                // EAGAIN: the queue is empty.
                break
            }
        }
        beginClosing()
    }

    override func released() {
        super.released()
        timer.cancel()
        if let detached { return detached(fd) }
        if let unixPath { unlink(unixPath) }
        close(fd)
        closed?()
    }
}
