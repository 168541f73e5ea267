import Transport

/// Numbers the configurations, and binaries, that workers were spawned for. The first is 0.
public typealias Generation = UInt32

/// The shell's token for a socket that it accepted and still holds: in practice its file descriptor.
///
/// A token may come back for a new socket once the old one was released or closed.
public struct SocketID: Hashable, Sendable, Codable {
    /// The file descriptor, or whatever number the shell chose.
    public var rawValue: Int32

    /// The token with this number.
    public init(_ rawValue: Int32) {
        self.rawValue = rawValue
    }
}

/// One incarnation of a worker: where it sits, and which process in that place it is.
public struct WorkerID: Hashable, Sendable, Codable {
    /// The place, from 0. Status pages belong to slots.
    public var slot: Int
    /// Counts the processes that this slot has had; the first is 0.
    public var incarnation: UInt32

    /// The worker in `slot` with this incarnation.
    public init(slot: Int, incarnation: UInt32) {
        self.slot = slot
        self.incarnation = incarnation
    }
}

/// Numbers the sockets handed to one incarnation of a worker, from 0. (Not `Sequence`: that would hide the standard
/// library's protocol from every file that imports this module.)
public typealias SequenceNumber = UInt64

/// A socket fresh from accept(2), or the first one of a connection that a worker offered.
public struct AcceptedSocket: Hashable, Sendable, Codable {
    /// What the shell calls it.
    public var id: SocketID
    /// The id of the listener that it came from. An id is not given to another listener while sockets of it are about.
    public var listener: UInt16
    /// A hash of the peer's address without its port. Only the source-hash balance looks at it.
    public var sourceHash: UInt64
    /// When accept(2) returned it.
    public var acceptedAt: MonotonicTime

    /// A socket as accepted.
    public init(id: SocketID, listener: UInt16, sourceHash: UInt64, acceptedAt: MonotonicTime) {
        self.id = id
        self.listener = listener
        self.sourceHash = sourceHash
        self.acceptedAt = acceptedAt
    }
}

/// How a process ended, as wait(2) tells it.
public enum ExitStatus: Hashable, Sendable, Codable {
    /// It called exit(3) with this code, 0 to 255.
    case code(Int32)
    /// This signal killed it.
    case signal(Int32, coreDumped: Bool)
}
