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
    /// - Parameter loops: loops that will exist at once, in all processes of this user together: their rings share one
    ///   RLIMIT_MEMLOCK, with what other programs of this user hold now.
    /// - Returns: the transport, and why it is not io_uring.
    /// - Throws: why there is no io_uring, when nothing else is wanted, or when the cause is a shortage that epoll would
    ///   meet as well (`UringUnavailability.failed`).
    public func decide(loops: Int = 1) throws(UringUnavailability) -> TransportDecision {
        precondition(loops >= 1, "a decision is for one loop at least")
        if self == .epoll { return TransportDecision(transport: .epoll, cause: .switchedOff) }
        let cause: UringUnavailability
        switch UringAvailability.probe() {
        case .available:
            if UringAvailability.fits(rings: loops, of: UringConfiguration()) {
                return TransportDecision(transport: .ioUring)
            }
            if UringAvailability.fits(rings: loops) {
                return TransportDecision(transport: .ioUring, hasSmallRings: true)
            }
            cause = .lockedMemory(limitBytes: UringAvailability.lockedMemoryLimit)
        case .unavailable(let found):
            cause = found
        }
        if case .failed = cause { throw cause }
        if self == .ioUring { throw cause }
        return TransportDecision(transport: .epoll, cause: cause)
    }
}

/// The outcome of ``TransportPreference/decide(loops:)``.
public struct TransportDecision: Sendable {
    /// What to use.
    public var transport: TransportKind
    /// Why it is not io_uring; nil when it is.
    public var cause: UringUnavailability?
    /// Locked memory is short: each ring is to be the smallest, so that there is enough for all.
    public var hasSmallRings: Bool

    /// States an outcome.
    public init(transport: TransportKind, cause: UringUnavailability? = nil, hasSmallRings: Bool = false) {
        self.transport = transport
        self.cause = cause
        self.hasSmallRings = hasSmallRings
    }

    /// The defaults of a loop, with this decision in them.
    public var configuration: EventLoopConfiguration {
        var configuration = EventLoopConfiguration()
        configuration.transport = transport
        if hasSmallRings { configuration.uring = .smallest }
        return configuration
    }
}
