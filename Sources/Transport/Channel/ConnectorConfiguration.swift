/// How to connect.
public struct ConnectorConfiguration: Sendable {
    /// How long an attempt may take.
    public var timeout: Duration = .seconds(10)
    /// The address to connect from; nil: the kernel chooses. Port 0 has it choose a port that is free towards this peer
    /// (``SocketOption/bindAddressNoPort``). Its family is that of the address to connect to.
    public var localAddress: SocketAddress?
    /// Options, set before binding and connecting. TCP_NODELAY is on unless it is set otherwise here.
    public var options: [SocketOptionSetting] = []
    /// TCP Fast Open: bytes to send with the SYN, if the kernel has the server's cookie and ``TCPFastOpen/client`` is
    /// allowed. The server may receive them although connecting fails, and twice (RFC 7413, 2.1): only for a request
    /// that may be repeated. What the kernel did not take is the caller's to send first, see ``ConnectedSocket``.
    public var fastOpenData: [UInt8] = []

    /// The defaults: ten seconds, from any address, TCP_NODELAY.
    public init() {}
}

/// A connected socket, in blocking mode and close-on-exec. Whoever is given it owns it.
public struct ConnectedSocket: Hashable, Sendable {
    /// Its descriptor.
    public let fd: Int32
    /// How many bytes of ``ConnectorConfiguration/fastOpenData`` the kernel has taken: it sends them, by itself and again if
    /// need be. Write those behind them first; 0 means all.
    public let fastOpenBytesTaken: Int
}
