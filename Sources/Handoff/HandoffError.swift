import Glibc

/// A system call that failed while a hand-off socket or a status page was made.
public struct HandoffError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The call, such as `mmap`.
    public let call: String
    /// The reason, errno(3).
    public let errno: Int32

    /// A failure of `call` with `errno`.
    public init(call: String, errno: Int32) {
        self.call = call
        self.errno = errno
    }

    /// The call and the reason in words.
    public var description: String { "\(call): \(String(cString: strerror(errno)))" }
}
