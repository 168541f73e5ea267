import Glibc

/// A service's connection between two processes: its sockets, and what the next service needs to go on with it. Any
/// thread. Dropping it closes this process's copies of the sockets and tells the peers nothing.
public struct FrozenConnection: ~Copyable, Sendable {
    /// Which listener accepted the client.
    public let listener: UInt16
    /// Who connected.
    public let peer: SocketAddress
    /// When it was accepted.
    public let acceptedAt: MonotonicTime
    /// What only the service understands.
    public let state: [UInt8]
    /// Nobody would have it, and it comes back to the service that froze it, which passes over it: see
    /// ``Service/freeze(_:)``. False until the host says so; another process is not told.
    public var isRefused = false
    private let owned: OwnedSockets

    /// The most sockets that one connection may consist of.
    public static let socketsMax = 4

    /// Takes ownership of 1 to ``socketsMax`` connected sockets, the client's first, on which no operation is in flight.
    public init(listener: UInt16, peer: SocketAddress, acceptedAt: MonotonicTime, sockets: [Int32], state: [UInt8]) {
        precondition(1...Self.socketsMax ~= sockets.count && sockets.allSatisfy { $0 >= 0 })
        self.listener = listener
        self.peer = peer
        self.acceptedAt = acceptedAt
        self.state = state
        owned = OwnedSockets(fds: sockets)
    }

    /// The sockets, which stay this value's.
    public var sockets: [Int32] { owned.fds }

    /// Gives the sockets to the caller, who closes them.
    public consuming func takeSockets() -> [Int32] { owned.take() }
}

/// Closes sockets unless they are taken.
/// Not private: in a release build other modules destroy it in place and refer to it by name.
struct OwnedSockets: ~Copyable, Sendable {
    private(set) var fds: [Int32]

    deinit {
        for fd in fds { close(fd) }
    }

    consuming func take() -> [Int32] {
        defer { fds = [] }
        return fds
    }
}
