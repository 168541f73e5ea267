// What can be asked of a connection at any time.
extension Connection {
    /// False when so much is queued that a well-behaved writer waits for ``becameWritable()``.
    public var isWritable: Bool { state.pointee.isWritable }

    /// Bytes queued in memory and not yet taken by the kernel. File regions are not among them.
    public var queuedBytes: Int { state.pointee.queue.count }

    /// Bytes of file regions queued and not yet sent. They take no memory, and count towards no water mark.
    public var queuedFileBytes: Int { state.pointee.queue.fileBytes }

    /// File regions, uncopied writes and descriptor messages queued and not yet sent.
    public var queuedSegments: Int { state.pointee.queue.segmentCount }

    /// Bytes received while reading was paused, waiting for ``resumeReading()``.
    public var parkedBytes: Int { state.pointee.parked.count }

    /// Whether ``received(_:)`` may be called.
    public var isReading: Bool { state.pointee.read.isWanted }

    /// Whether the peer's FIN has been told by ``inputEnded()``.
    public var isInputEnded: Bool { state.pointee.inputEnd == .told }

    /// Whether FIN has been asked for by ``finishOutput()``.
    public var isOutputFinished: Bool { state.pointee.output != .open }

    /// Bytes received so far.
    public var bytesReceived: UInt64 { state.pointee.bytesReceived }

    /// Bytes the kernel has taken so far.
    public var bytesSent: UInt64 { state.pointee.bytesSent }

    /// The peer's address (getpeername(2)), or nil when it is gone.
    public var peerAddress: SocketAddress? { isReleased ? nil : Socket.peerAddress(of: fd) }

    /// The local address (getsockname(2)), or nil when the socket is closed.
    public var localAddress: SocketAddress? { isReleased ? nil : Socket.localAddress(of: fd) }
}
