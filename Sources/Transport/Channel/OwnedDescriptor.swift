import Glibc

/// An open descriptor that is closed when nobody refers to it any more.
///
/// Shared by reference: the same file may be queued at several connections at once.
public final class OwnedDescriptor: Sendable {
    /// The descriptor. Whoever uses it keeps a reference to its owner meanwhile.
    public let fd: Int32

    /// Takes `fd` over; nobody else closes it from now on.
    public init(_ fd: Int32) {
        precondition(fd >= 0, "a descriptor is not negative")
        self.fd = fd
    }

    /// A close-on-exec copy (fcntl(2) F_DUPFD_CLOEXEC) of a descriptor that stays the caller's.
    ///
    /// - Throws: EBADF when `fd` is not open, EMFILE when the process has no descriptor left.
    public convenience init(copying fd: Int32) throws(SystemError) {
        let copy = fcntl(fd, F_DUPFD_CLOEXEC, 0)
        if copy < 0 { throw .last("fcntl") }
        self.init(copy)
    }

    deinit {
        close(fd)
    }
}
