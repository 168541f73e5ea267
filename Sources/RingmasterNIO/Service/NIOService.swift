import Glibc
import NIOCore
import Transport

/// SwiftNIO's channels as a service of a worker: the socket of each connection that the worker is given becomes a channel
/// on the worker's own loop, set up by an initialiser as that of `ServerBootstrap`.
///
/// A drain sends `ChannelShouldQuiesceEvent` through each pipeline, as SwiftNIO's own quiescing does; channels whose
/// handlers do not heed it go on until the grace is over. A channel that has just become active is told 250 ms later: a request
/// may be on its way, and handlers that close when they are idle would answer it with FIN. Loop thread, as every service.
///
/// Unchecked: what it gives away are closures that run on the loop.
public final class NIOService: Service, @unchecked Sendable {
    /// Called on the loop with each new channel, before it is registered: adds its handlers, sets its options.
    public typealias Initializer = @Sendable (any NIOCore.Channel) -> EventLoopFuture<Void>
    /// Asked on the loop when the worker has a successor.
    public typealias Movability = @Sendable (any NIOCore.Channel) -> Bool
    /// Called on the loop, which is running.
    public typealias Hook = @Sendable (RingEventLoop) -> EventLoopFuture<Void>

    /// Called on the loop, which is running, to have the connections listened to.
    public typealias Listening = @Sendable (WorkerConnections) -> EventLoopFuture<Void>

    /// What becomes of connections.
    private enum Use {
        case initializing(Initializer, starting: Hook?)
        case listening(Listening)
    }

    private struct Running {
        let host: ServiceHost
        let loop: RingEventLoop
        var listener: RingListenerChannel?
        var isStopping = false
    }

    /// What one connection needs at most: its own socket, and what its handlers open for it.
    public let descriptorsPerConnection: Int
    private let use: Use
    private let stopping: Hook?
    let canMove: Movability?
    private var running: Running?
    var channels: [ObjectIdentifier: RingStreamChannel] = [:]
    /// Connections that are leaving.
    public internal(set) var freezing = 0
    /// Those to be looked at next: whether they can move.
    private var candidates: [ObjectIdentifier] = []
    /// Those that have not been told of the drain, once there is one.
    private var untold: Set<ObjectIdentifier>?
    /// The worker drains or ends: that nobody listens any more is as it should be.
    private var isLeaving = false

    /// How long handlers may keep a channel from closing in the end.
    private static let closePatience: TimeAmount = .milliseconds(250)
    /// How long a channel is active at least when it is told of a drain.
    private static let activeMin: Duration = .milliseconds(250)
    /// Connections handed to one turn of the loop at most; the others follow in the next.
    private static let connectionsPerTurnMax: UInt = 64

    /// - Parameters:
    ///   - descriptorsPerConnection: 1, and more when handlers open files or connections of their own.
    ///   - starting: called before connections come: they come when its future has succeeded, and the worker ends when
    ///     that fails.
    ///   - stopping: called when the last connection has ended and the worker leaves, which waits for its future until
    ///     the grace is over.
    ///   - canMove: tells whether a connection can go on in another worker with a pipeline that knows nothing of it: it is
    ///     idle, and no handler holds a part of a message. nil: none ever can. Whether bytes wait to be sent need not be
    ///     looked at.
    ///   - initializer: is called for each connection.
    public init(
        descriptorsPerConnection: Int = 1, starting: Hook? = nil, stopping: Hook? = nil, canMove: Movability? = nil,
        initializer: @escaping Initializer
    ) {
        precondition(descriptorsPerConnection >= 1, "a connection has a socket")
        self.descriptorsPerConnection = descriptorsPerConnection
        use = .initializing(initializer, starting: starting)
        self.stopping = stopping
        self.canMove = canMove
    }

    /// For a server that reads connections from a listening channel of its own, such as gRPC's. They do not move to other
    /// workers.
    ///
    /// - Parameters:
    ///   - descriptorsPerConnection: 1, and more when handlers open files or connections of their own.
    ///   - stopping: called when the last connection has ended and the worker leaves, which waits for its future until
    ///     the grace is over.
    ///   - listening: has the server call ``WorkerConnections/listen(serverChannelInitializer:childChannelInitializer:)``.
    ///     Connections come when its future has succeeded; the worker ends when that fails, or when nothing listens then
    ///     or later, unless it is being drained.
    public init(descriptorsPerConnection: Int = 1, stopping: Hook? = nil, listening: @escaping Listening) {
        precondition(descriptorsPerConnection >= 1, "a connection has a socket")
        self.descriptorsPerConnection = descriptorsPerConnection
        use = .listening(listening)
        self.stopping = stopping
        canMove = nil
    }

    /// Of all connections so far.
    public var statistics: ServiceStatistics {
        var statistics = ServiceStatistics()
        statistics.bytesReceived = running?.loop.traffic.pointee.received ?? 0
        statistics.bytesSent = running?.loop.traffic.pointee.sent ?? 0
        return statistics
    }

    // MARK: Life

    /// Ready when the hook is done.
    public func start(_ host: ServiceHost) throws {
        let loop = RingEventLoop(on: host.loop)
        running = Running(host: host, loop: loop)
        // From here on it runs on the loop, which turns when all services have been started.
        loop._executeIsolatedUnsafeUnchecked { [self] in begin(loop) }
    }

    private func begin(_ loop: RingEventLoop) {
        let isReady: EventLoopFuture<Void>
        switch use {
        case .initializing(let initializer, let starting):
            isReady = listen(on: loop, initializer: initializer) { _ in }.flatMap {
                starting?(loop) ?? loop.makeSucceededVoidFuture()
            }
        case .listening(let listening):
            isReady = listening(WorkerConnections(of: self, on: loop))
        }
        isReady.hop(to: loop).assumeIsolated().whenComplete { [self] result in
            switch result {
            case .success where listener?.isActive == true: becameReady()
            case .success: host?.failed(WorkerConnections.NobodyListens())
            case .failure(let error): host?.failed(error)
            }
        }
    }

    private func becameReady() {
        host?.ready()
        // Else the worker would be given one connection after the other, for nobody.
        listener?.closeFuture.assumeIsolated().whenComplete { [self] _ in
            if !isLeaving { host?.failed(WorkerConnections.NobodyListens()) }
        }
    }

    /// Makes the listener and what is wanted of it. Loop thread, once.
    func listen<Output: Sendable, Listener: Sendable>(
        on loop: RingEventLoop, _ setUp: ChannelSetUp = ChannelSetUp(),
        initializer: @escaping @Sendable (any NIOCore.Channel) -> EventLoopFuture<Output>,
        wrap: @escaping @Sendable (RingListenerChannel) throws -> Listener
    ) -> EventLoopFuture<Listener> {
        precondition(running?.listener == nil, "a worker's connections are listened to once")
        let host = running?.host
        let listener = RingListenerChannel(loop) { host?.connectionEnded() }
        running?.listener = listener
        listener.setMessagesPerRead(Self.connectionsPerTurnMax)
        return listener.onLoop { [self] in
            setUp.apply(to: listener).flatMapThrowing { [self] in
                let accept = AcceptHandler(ChannelSetUp(), tellsFailures: false) { [unowned self] in
                    accepted($0, initializer)
                }
                try listener.pipeline.syncOperations.addHandler(accept, name: "AcceptHandler")
                return try wrap(listener)
            }.flatMap { result in
                listener.registerConfigured().map { result }
            }
        }
    }

    /// The service cannot go on: its worker ends with the error, which the operator is told, and another takes its place.
    /// Loop thread, after the start; without effect when the service is being stopped.
    public func fail(_ error: any Error) {
        guard let running, !running.isStopping else { return }
        running.host.failed(error)
    }

    /// Calls the hook, then ends the event loop in order: what is queued is run, what is scheduled is told.
    public func stop(_ done: @escaping () -> Void) {
        isLeaving = true
        guard let running else { return done() }
        self.running?.isStopping = true
        let (loop, listener) = (running.loop, running.listener)
        let end: () -> Void = {
            listener?.close(promise: nil)
            loop.shutDownIsolated(patience: Self.closePatience, ended: done)
        }
        guard let stopping else { return end() }
        stopping(loop).hop(to: loop).assumeIsolated().whenComplete { _ in end() }
    }

    var host: ServiceHost? { running?.host }
    var listener: RingListenerChannel? { running?.listener }

    /// The next connection, all in turn; nil when there is none.
    func nextCandidate() -> RingStreamChannel? {
        if candidates.isEmpty { candidates = Array(channels.keys) }
        while let id = candidates.popLast() {
            if let channel = channels[id] { return channel }
        }
        return nil
    }

    // MARK: Connections

    /// The socket becomes a channel.
    public func serve(_ connection: IncomingConnection) {
        guard let listener else { preconditionFailure("connections come between start and stop") }
        listener.deliver(
            .init(fd: connection.fd, isShared: connection.isShared, origin: ConnectionOrigin(connection)))
    }

    private func accepted<Output: Sendable>(
        _ channel: any NIOCore.Channel, _ initializer: (any NIOCore.Channel) -> EventLoopFuture<Output>
    ) -> EventLoopFuture<Output> {
        guard let channel = channel as? RingStreamChannel else {
            preconditionFailure("the listener has channels of one kind only")
        }
        let id = ObjectIdentifier(channel)
        channels[id] = channel
        channel.closeFuture.assumeIsolated().whenComplete { [self] _ in
            // One that has moved is forgotten already.
            if channels.removeValue(forKey: id) != nil { running?.host.connectionEnded() }
            untold?.remove(id)
        }
        if untold != nil {
            // Sent here before the supervisor knew of the drain.
            untold?.insert(id)
            tell(id)
        }
        return initializer(channel)
    }

    // MARK: Ending them

    /// Has each channel quiesce; evenly over `spread`, since one does not see from here which of them are idle.
    public func drain(spread: Duration) {
        isLeaving = true
        let ids = untold ?? Set(channels.keys)
        untold = ids
        for (index, id) in ids.enumerated() {
            let delay = spread * index / ids.count
            if delay > .zero { tell(id, after: delay) } else { tell(id) }
        }
    }

    private func tell(_ id: ObjectIdentifier, after delay: Duration) {
        let delay = TimeAmount.nanoseconds(Int64(clamping: delay.wholeNanoseconds))
        running?.loop._scheduleTaskIsolatedUnsafeUnchecked(in: delay) { [self] in tell(id) }
    }

    /// Once, and not before it has been active for a while.
    private func tell(_ id: ObjectIdentifier) {
        guard let loop = running?.loop, let channel = channels[id], untold?.contains(id) == true else { return }
        let now = loop.core.turnTime
        let activeEnough = (channel.activeSince ?? now) + Self.activeMin
        guard activeEnough <= now else { return tell(id, after: activeEnough - now) }
        untold?.remove(id)
        channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
    }

    /// Closes every channel, whatever its handlers say.
    public func closeAll() {
        isLeaving = true
        listener?.closeParked()
        for channel in Array(channels.values) {
            channel.close0(error: ChannelError.ioOnClosedChannel, mode: .all, promise: nil)
        }
    }
}
