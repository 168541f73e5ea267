/// A connected socket on its way to a service, which owns it from then on.
public struct IncomingConnection: Sendable {
    /// Connected, close-on-exec, in blocking mode.
    public var fd: Int32
    /// Which listener accepted it, counted from 0 in the order of the command line.
    public var listener: UInt16
    /// Who connected.
    public var peer: SocketAddress
    /// When it was accepted.
    public var acceptedAt: MonotonicTime
    /// Another process may still hold a copy: see ``ConnectionConfiguration/isShared``.
    public var isShared: Bool

    /// Describes an accepted socket.
    public init(fd: Int32, listener: UInt16, peer: SocketAddress, acceptedAt: MonotonicTime, isShared: Bool) {
        self.fd = fd
        self.listener = listener
        self.peer = peer
        self.acceptedAt = acceptedAt
        self.isShared = isShared
    }
}

/// What a service has counted since it was made.
public struct ServiceStatistics: Hashable, Sendable {
    /// Bytes received from clients.
    public var bytesReceived: UInt64 = 0
    /// Bytes sent to clients.
    public var bytesSent: UInt64 = 0
    /// Connection attempts to an upstream that failed or timed out.
    public var upstreamConnectFailures: UInt64 = 0

    /// All zero.
    public init() {}
}

/// What a service is given by whoever runs it. Loop thread only.
public struct ServiceHost {
    /// The loop that the service's connections live on.
    public let loop: EventLoop
    /// Call once, when connections may come.
    public let ready: () -> Void
    /// Call once for each connection given to ``Service/serve(_:)``, when it is over and its socket closed.
    public let connectionEnded: () -> Void

    /// A host made of two callbacks.
    public init(loop: EventLoop, ready: @escaping () -> Void, connectionEnded: @escaping () -> Void) {
        self.loop = loop
        self.ready = ready
        self.connectionEnded = connectionEnded
    }
}

/// What a process does with the connections it is given: one instance per loop, used on that loop's thread only.
public protocol Service: AnyObject {
    /// Descriptors that one connection needs at most: its own, and those the service opens for it.
    var descriptorsPerConnection: Int { get }

    /// What it has counted.
    var statistics: ServiceStatistics { get }

    /// Prepares; calls ``ServiceHost/ready`` now or later.
    ///
    /// - Throws: an error whose description tells the operator what is missing.
    func start(_ host: ServiceHost) throws

    /// Takes a connection over.
    func serve(_ connection: IncomingConnection)

    /// No connection follows: end those that are idle, let the others finish.
    func drain()

    /// Ends every connection now.
    func closeAll()
}
