/// A connected socket on its way to a service, which owns it from then on.
public struct IncomingConnection: Sendable {
    /// Connected, close-on-exec, in blocking mode. A TCP socket sends small writes at once (TCP_NODELAY, tcp(7)).
    public var fd: Int32
    /// Which listener accepted it, counted from 0 in the order of the command line.
    public var listener: UInt16
    /// Who connected.
    public var peer: SocketAddress
    /// When it was accepted.
    public var acceptedAt: MonotonicTime
    /// Another process may still hold a copy: see ``ConnectionConfiguration/isShared``.
    public var isShared: Bool
    /// That copy, if it can be told when it is gone.
    public var sharedCopy: SharedCopy?

    /// Describes an accepted socket.
    public init(
        fd: Int32, listener: UInt16, peer: SocketAddress, acceptedAt: MonotonicTime, isShared: Bool,
        sharedCopy: SharedCopy? = nil
    ) {
        self.fd = fd
        self.listener = listener
        self.peer = peer
        self.acceptedAt = acceptedAt
        self.isShared = isShared
        self.sharedCopy = sharedCopy
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
    /// Call once for each connection given to ``Service/serve(_:)`` or ``Service/thaw(_:)``, when it is over and its
    /// sockets closed; in its place ``frozen``, when it leaves alive.
    public let connectionEnded: () -> Void
    /// Call once, in place of ``connectionEnded``, for a connection that ``Service/freeze(_:)`` has begun to freeze, from
    /// the loop and never from within that call. Do it last: the host may give the connection straight back.
    public let frozen: (consuming FrozenConnection) -> Void
    /// Call once, in place of ``ready`` or later, when the service cannot go on: the process ends with the error, which tells
    /// the operator what is missing.
    public let failed: (any Error) -> Void

    /// A host that never calls ``Service/freeze(_:)``, for services that do not fail.
    public init(loop: EventLoop, ready: @escaping () -> Void, connectionEnded: @escaping () -> Void) {
        // No default argument below: the optimiser of Swift 6.3 fails on a closure there that destroys its parameter.
        self.init(loop: loop, ready: ready, connectionEnded: connectionEnded, frozen: { _ in })
    }

    /// A host made of its callbacks.
    public init(
        loop: EventLoop, ready: @escaping () -> Void, connectionEnded: @escaping () -> Void,
        frozen: @escaping (consuming FrozenConnection) -> Void,
        failed: @escaping (any Error) -> Void = { preconditionFailure("nobody handles that the service failed: \($0)") }
    ) {
        self.loop = loop
        self.ready = ready
        self.connectionEnded = connectionEnded
        self.frozen = frozen
        self.failed = failed
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

    /// How many connections ``freeze(_:)`` has begun to freeze that have neither come to ``ServiceHost/frozen`` nor ended.
    var freezing: Int { get }

    /// Begins to freeze connections that can move to another process as they are now, and that go on there as if nothing
    /// had happened. Each comes to ``ServiceHost/frozen`` in a moment, or breaks meanwhile and ends as usual.
    ///
    /// Passes over those that came back refused (``FrozenConnection/isRefused``) until ``retryRefused()``: one that nobody
    /// will ever have must not keep others from their turn.
    ///
    /// - Parameter max: no more than that many, at least 0.
    /// - Returns: how many were begun. Others may become movable later: ask again.
    func freeze(_ max: Int) -> Int

    /// ``freeze(_:)`` passes over nothing that has been refused so far. Off the hot path: looks at each connection.
    func retryRefused()

    /// Goes on with a connection that a service like this has frozen, in another process or, when nobody would have it,
    /// in this one. Another process may hold copies of its sockets.
    ///
    /// - Returns: false when the state makes no sense here. The sockets have been closed, and nothing else is told of it.
    func thaw(_ frozen: consuming FrozenConnection) -> Bool

    /// No connection follows: end those that are idle, let the others finish. Called again, the sooner end counts.
    ///
    /// - Parameter spread: the idle ones are ended evenly over that time, so that their clients do not all come back at
    ///   once; zero: now.
    func drain(spread: Duration)

    /// Ends every connection now, also those that are being frozen.
    func closeAll()

    /// Every connection has ended, or is being closed, and the process leaves: ends what there is besides, then calls
    /// `done`, from within this call or later. It is not waited for beyond the grace.
    func stop(_ done: @escaping () -> Void)
}

extension Service {
    /// There is nothing besides connections.
    public func stop(_ done: @escaping () -> Void) { done() }
}

/// A service whose connections stay where they are.
extension Service {
    /// None, ever.
    public var freezing: Int { 0 }

    /// Begins nothing.
    public func freeze(_ max: Int) -> Int { 0 }

    /// Nothing was ever refused.
    public func retryRefused() {}

    /// Knows no frozen state: closes the sockets.
    public func thaw(_ frozen: consuming FrozenConnection) -> Bool { false }
}
