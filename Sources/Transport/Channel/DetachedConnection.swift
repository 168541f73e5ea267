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

/// A connection between two loops: its socket, and the bytes that are on neither side of it. Made by
/// ``Connection/detach(_:)``, used up by ``Connection/init(_:_:configuration:)``; any thread.
///
/// To move one to another process, send its members there with a copy of the socket (SCM_RIGHTS) and put them together
/// again by ``init(fd:unread:unsent:isInputEnded:output:)``. Dropping it closes the socket.
public struct DetachedConnection: ~Copyable, Sendable {
    /// Bytes received and not told to the service: the next to be.
    public let unread: [UInt8]
    /// Bytes written and not taken by the kernel: the next to be sent.
    public let unsent: [UInt8]
    /// Whether ``Connection/inputEnded()`` has been called. It is not called again.
    public let isInputEnded: Bool
    /// Whether FIN has been asked for, or sent.
    public let output: OutputState
    private let socket: OwnedSocket

    /// Takes ownership of a connected socket, in blocking mode, on which no operation is in flight.
    ///
    /// - Precondition: nothing is unread behind the end of the input, nor unsent behind the FIN.
    public init(fd: Int32, unread: [UInt8], unsent: [UInt8], isInputEnded: Bool, output: OutputState) {
        precondition(fd >= 0, "a detached connection has a socket")
        precondition(unread.isEmpty || !isInputEnded, "bytes behind the end of the input")
        precondition(unsent.isEmpty || output != .finished, "bytes behind the FIN")
        socket = OwnedSocket(fd: fd)
        self.unread = unread
        self.unsent = unsent
        self.isInputEnded = isInputEnded
        self.output = output
    }

    /// The socket, which stays this value's.
    public var fd: Int32 { socket.fd }

    /// Gives the socket to the caller, who closes it; its last state is lost with this value.
    public consuming func takeDescriptor() -> Int32 { socket.take() }
}

/// Closes a socket unless it is taken.
private struct OwnedSocket: ~Copyable, Sendable {
    let fd: Int32

    init(fd: Int32) {
        self.fd = fd
    }

    deinit {
        close(fd)
    }

    consuming func take() -> Int32 {
        let fd = fd
        discard self
        return fd
    }
}
