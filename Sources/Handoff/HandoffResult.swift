import Glibc

/// What became of a packet given to a ``HandoffSocket``. Unless it was sent, none of it was.
public enum SendResult: Equatable, Sendable {
    /// The packet waits in the peer's queue.
    case sent
    /// The socket is full: the peer does not keep up. Choose another worker, or try again later (EAGAIN).
    case full
    /// Too many descriptors of this user are in flight in the whole system. Wait a moment before sending any
    /// (ETOOMANYREFS, unix(7)).
    case tooManyInFlight
    /// The peer has closed its end: it is dead or dying.
    case peerGone
    /// Another failure, errno(3), such as ENOBUFS or ENOMEM.
    case failed(errno: Int32)

    /// Reads what `csocket_send` returned for a packet of `length` bytes.
    init(_ result: Int64, length: Int) {
        guard result < 0 else {
            assert(result == length, "a SOCK_SEQPACKET record is sent whole")
            self = .sent
            return
        }
        switch Int32(-result) {
        case EAGAIN: self = .full
        case ETOOMANYREFS: self = .tooManyInFlight
        case EPIPE, ECONNRESET, ENOTCONN, ECONNREFUSED: self = .peerGone
        case let errno: self = .failed(errno: errno)
        }
    }
}

/// What a ``HandoffSocket`` has received.
public enum ReceiveResult: Equatable, Sendable {
    /// A packet with its sockets, which belong to the caller. `fdsTruncated`: this process had no room for all of its
    /// descriptors (RLIMIT_NOFILE), and the others cannot be had any more. `fds` are then those of the first connections,
    /// or none when it is a moved connection, which is of no use in parts: its state may be missing too.
    case packet(Packet, fds: [Int32], fdsTruncated: Bool)
    /// Nothing is waiting.
    case empty
    /// The peer has closed its end and everything it sent has been received.
    case endOfFile
    /// Not a packet. Its descriptors have been closed. The peer cannot be trusted any longer.
    case malformed(PacketError)
    /// recvmsg(2) failed, errno(3).
    case failed(errno: Int32)
}
