import CSocket
import Glibc

/// The descriptors that came with some bytes over a Unix-domain socket (SCM_RIGHTS), all of them close-on-exec.
///
/// What is not taken out is closed when this value ends, so that a receiver which expects none leaks none.
public struct ReceivedDescriptors: ~Copyable {
    /// Descriptors of one message at most; of a longer one the rest are dropped, and ``isTruncated`` is set.
    public static var countMax: Int { Int(CSOCKET_FDS_PER_MESSAGE_MAX) }

    /// The sender sent more than have arrived (MSG_CTRUNC): more than ``countMax``, or this process's table was full
    /// (RLIMIT_NOFILE). Which of them are missing cannot be told.
    public let isTruncated: Bool
    private var descriptors = InlineArray<16, Int32>(repeating: -1)
    private var taken = 0
    private var end = 0

    /// Descriptors not yet taken out.
    public var count: Int { end - taken }

    /// Whether there is nothing to take out.
    public var isEmpty: Bool { count == 0 }

    /// None, as with bytes that came alone.
    init() {
        isTruncated = false
    }

    /// Takes over what `message` brought.
    init(_ message: borrowing csocket_message) {
        isTruncated = message.fds_truncated != 0
        end = Int(message.fd_count)
        precondition(end <= descriptors.count, "no message brings more descriptors")
        withUnsafeBytes(of: message.fds) { raw in
            for index in 0..<end { descriptors[index] = raw.loadUnaligned(fromByteOffset: index * 4, as: Int32.self) }
        }
    }

    deinit {
        for index in taken..<end { close(descriptors[index]) }
    }

    /// Takes the next descriptor out, in the order in which they were sent: the caller closes it. nil when none is left.
    public mutating func takeFirst() -> Int32? {
        guard taken < end else { return nil }
        defer { taken += 1 }
        return descriptors[taken]
    }
}
