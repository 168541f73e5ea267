import Transport

/// What the supervisor tells a worker about one accepted socket. The socket itself travels beside it (SCM_RIGHTS, unix(7)).
public struct ConnectionRecord: Hashable, Sendable {
    /// The index of the listener that accepted the connection, in the order of the command line.
    public var listener: UInt16
    /// The client's address. A Unix-domain path of more than ``SocketAddress/unixPathLengthMax`` bytes arrives shortened.
    public var peer: SocketAddress
    /// When the supervisor accepted it. The monotonic clock is the same in every process of the machine.
    public var acceptedAt: MonotonicTime

    /// A record of one accepted connection.
    public init(listener: UInt16, peer: SocketAddress, acceptedAt: MonotonicTime) {
        self.listener = listener
        self.peer = peer
        self.acceptedAt = acceptedAt
    }
}
