/// How a loop reaches the kernel.
public enum TransportKind: String, CaseIterable, Sendable {
    /// Operations are submitted to a ring (io_uring(7), Linux 6.1).
    case ioUring = "io_uring"
    /// Calls are tried, and tried again when epoll(7) says so. For where io_uring is denied.
    case epoll
}

/// Which transport is wanted.
public enum TransportPreference: String, CaseIterable, Sendable {
    /// io_uring where it can be had, else epoll.
    case auto
    /// io_uring or nothing.
    case ioUring = "io_uring"
    /// epoll; no io_uring system call is made, since some policies kill instead of denying.
    case epoll

    /// Finds the transport to use, by trying. One decision for all loops of a server: they are not to differ.
    ///
    /// - Returns: the transport, and why it is not io_uring when that was not asked for.
    /// - Throws: why there is no io_uring, when nothing else is wanted, or when the cause is a shortage that epoll would
    ///   meet as well (`UringUnavailability.failed`).
    public func decide() throws(UringUnavailability) -> TransportDecision {
        switch self {
        case .epoll:
            return TransportDecision(transport: .epoll, cause: .switchedOff)
        case .auto, .ioUring:
            switch UringAvailability.probe() {
            case .available:
                return TransportDecision(transport: .ioUring, cause: nil)
            case .unavailable(let cause):
                if case .failed = cause { throw cause }
                if self == .ioUring { throw cause }
                return TransportDecision(transport: .epoll, cause: cause)
            }
        }
    }
}

/// The outcome of ``TransportPreference/decide()``.
public struct TransportDecision: Sendable {
    /// What to use.
    public var transport: TransportKind
    /// Why it is not io_uring; nil when it is.
    public var cause: UringUnavailability?

    /// States an outcome.
    public init(transport: TransportKind, cause: UringUnavailability?) {
        self.transport = transport
        self.cause = cause
    }
}
