/// Limits of a datagram channel.
public struct DatagramConfiguration: Sendable {
    /// Memory for datagrams that wait to be sent, in bytes: their payload, and 16 to 128 bytes for each. One that does
    /// not fit is refused.
    public var queuedBytesMax = 1024 * 1024
    /// Have the kernel join datagrams of one sender and one size (UDP_GRO, Linux 5.0): fewer, larger calls, of which
    /// ``DatagramHeader/segmentSize`` tells the parts. UDP only; needs receive buffers that hold 65,535 bytes beside a
    /// datagram's head (``ReceiveBufferConfiguration/size`` of 65,607 or more).
    public var joinsReceived = false
    /// Leave room beside each received datagram for what the socket can be asked to tell of it, at any time:
    /// ``SocketOption/tellsTrafficClass``, ``SocketOption/tellsDestination``, ``SocketOption/joinsReceived``. Not on
    /// Unix-domain sockets.
    public var receivesControl = false
    /// Remove the Unix-domain path that the socket is bound to when it is closed.
    public var removesPath = true

    /// The defaults: 1 MiB of queue, datagrams as they were sent.
    public init() {}
}

/// What comes with a datagram besides its bytes.
public struct DatagramHeader: Hashable, Sendable {
    /// Who sent it; nil for a Unix-domain sender that is bound to nothing, to which there is no answer. On an IPv6
    /// socket an IPv4 sender is shown by its mapped address (::ffff:a.b.c.d), which can be answered to.
    public var sender: SocketAddress?
    /// The datagram was longer than ``Datagram/receiveSizeMax``, and the rest of it is lost.
    public var isTruncated: Bool
    /// The bytes are several datagrams of this size, the last perhaps shorter; nil for a single one.
    public var segmentSize: Int?
    /// IPv4's type of service or IPv6's traffic class: differentiated services in the upper six bits, congestion (ECN)
    /// in the lower two. Nil without ``SocketOption/tellsTrafficClass`` and ``DatagramConfiguration/receivesControl``.
    public var trafficClass: UInt8?
    /// Where it was sent to. Nil without ``SocketOption/tellsDestination`` and
    /// ``DatagramConfiguration/receivesControl``.
    public var destination: DatagramDestination?

    /// States what came with a datagram.
    public init(sender: SocketAddress?, isTruncated: Bool = false, segmentSize: Int? = nil) {
        self.sender = sender
        self.isTruncated = isTruncated
        self.segmentSize = segmentSize
    }
}

/// Where a received datagram was sent to.
public struct DatagramDestination: Hashable, Sendable {
    /// The address in its head, with port 0.
    public var address: SocketAddress
    /// The index of the interface that it came in by.
    public var interface: UInt32

    /// States where a datagram was sent to.
    public init(address: SocketAddress, interface: UInt32) {
        self.address = address
        self.interface = interface
    }
}

/// What has become of a send.
public enum DatagramOutcome: Hashable, Sendable {
    /// The kernel has taken all of it.
    case taken
    /// The kernel did not take it (EMSGSIZE, EACCES, ENETUNREACH, …; EAGAIN: see
    /// ``Datagram/send(_:to:segmentSize:trafficClass:)-(RawSpan,_,_,_)``). Of several segments some may have gone.
    case failed(SystemError)
    /// The channel closed or changed its peer before the socket had room for it.
    case dropped
}

/// What a datagram channel has counted since it was made.
public struct DatagramStatistics: Hashable, Sendable {
    /// Datagrams received; several joined by the kernel count once.
    public var received: UInt64 = 0
    /// Bytes of payload received.
    public var receivedBytes: UInt64 = 0
    /// Of the received ones, those cut to the receive buffer.
    public var truncated: UInt64 = 0
    /// Datagrams that the kernel has taken.
    public var sent: UInt64 = 0
    /// Bytes of payload that the kernel has taken.
    public var sentBytes: UInt64 = 0
    /// Sends refused, because the queue was full.
    public var refused: UInt64 = 0
    /// Queued sends given up: the kernel would not take them, or the channel closed or changed its peer before it could.
    public var dropped: UInt64 = 0

    /// All zero.
    public init() {}
}
