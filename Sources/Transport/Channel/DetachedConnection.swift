import Glibc

/// How far the sending direction of a connection is.
public enum OutputState: UInt8, Sendable {
    /// More may be written.
    case open = 0
    /// FIN follows what is queued.
    case finishing = 1
    /// FIN has been sent.
    case finished = 2
}

/// What a connection that changes its owner leaves undone: plain values, for the next owner in this process or, encoded, in another.
public struct ConnectionRemainder: Hashable, Sendable {
    /// Bytes received and not told to the service: the next to be.
    public let unread: [UInt8]
    /// Bytes written and not taken by the kernel: the next to be sent.
    public let unsent: [UInt8]
    /// Whether ``Connection/inputEnded()`` has been called. It is not called again.
    public let isInputEnded: Bool
    /// Whether FIN has been asked for, or sent.
    public let output: OutputState

    /// Nothing is left undone: of a socket that nobody has used yet.
    public static let none = ConnectionRemainder()

    private init() {
        (unread, unsent, isInputEnded, output) = ([], [], false, .open)
    }

    /// Puts a remainder together.
    ///
    /// - Returns: nil when the values contradict each other: bytes unread behind the end of the input, or unsent behind the FIN.
    public init?(unread: [UInt8] = [], unsent: [UInt8] = [], isInputEnded: Bool = false, output: OutputState = .open) {
        guard unread.isEmpty || !isInputEnded, unsent.isEmpty || output != .finished else { return nil }
        self.unread = unread
        self.unsent = unsent
        self.isInputEnded = isInputEnded
        self.output = output
    }
}

/// A connection between two owners: its socket, and what is left undone. Made by ``Connection/detach(_:)``, used up by
/// ``Connection/init(_:_:configuration:)``; any thread. Dropping it closes this process's copy of the socket.
///
/// ``EventLoopRemote/adopt(_:_:)`` carries it to another loop. For another process, send the descriptor (SCM_RIGHTS) and
/// the remainder there, and put them together again.
public struct DetachedConnection: ~Copyable, Sendable {
    /// What the next owner goes on with.
    public let remainder: ConnectionRemainder
    private let socket: OwnedSocket
    /// Its owner knows that it is a TCP socket; else the kernel is asked.
    private let isKnownTCP: Bool

    /// Takes ownership of a connected socket, in blocking mode, on which no operation is in flight.
    public init(fd: Int32, remainder: ConnectionRemainder = .none) {
        precondition(fd >= 0, "a detached connection has a socket")
        socket = OwnedSocket(fd: fd)
        self.remainder = remainder
        isKnownTCP = false
    }

    /// Takes ownership of a socket that has just been accepted.
    public init(_ incoming: IncomingConnection) {
        precondition(incoming.fd >= 0, "an accepted connection has a socket")
        socket = OwnedSocket(fd: incoming.fd)
        remainder = .none
        // A peer without a port says nothing: that of a TCP socket may have been gone already.
        isKnownTCP = incoming.peer.port != nil
    }

    /// Whether it is a Unix-domain socket. May cost a system call.
    var isUnixDomain: Bool { !isKnownTCP && Socket.family(of: fd) == AF_UNIX }

    /// The socket, which stays this value's.
    public var fd: Int32 { socket.fd }

    /// Gives the socket to the caller, who closes it.
    public consuming func takeDescriptor() -> Int32 { socket.take() }
}

/// Closes a socket unless it is taken.
/// Not private: in a release build other modules destroy it in place and refer to it by name.
struct OwnedSocket: ~Copyable, Sendable {
    let fd: Int32

    deinit {
        close(fd)
    }

    consuming func take() -> Int32 {
        let fd = fd
        discard self
        return fd
    }
}
