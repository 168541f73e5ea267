import Transport

/// Sends every byte back.
public final class EchoService: Service {
    /// How long a client must have been silent to count as idle when the service drains.
    static let quietDuration: Duration = .milliseconds(50)

    private var host: ServiceHost?
    /// The host's, apart from its closures: each connection needs it.
    private var loop: EventLoop?
    private var connections = Roster<EchoConnection>()
    private let traffic = Traffic()
    /// Connections that leave, and neither have left nor ended.
    public private(set) var freezing = 0
    /// When idle clients may get their FIN; nil unless draining.
    private var spread: SpreadEnds?
    /// Looks for idle clients again and again; nil unless draining.
    private var sweep: LoopTimer?

    /// A service that waits to be started. Keep it until its loop has ended.
    public init() {}

    /// The connection's own.
    public var descriptorsPerConnection: Int { 1 }

    /// Bytes in and out of all connections so far.
    public var statistics: ServiceStatistics { traffic.statistics }

    /// Is ready at once.
    public func start(_ host: ServiceHost) {
        self.host = host
        loop = host.loop
        host.ready()
    }

    /// Sends back what comes until both sides have said FIN.
    public func serve(_ incoming: IncomingConnection) {
        take(
            DetachedConnection(incoming), from: ConnectionOrigin(incoming), isShared: incoming.isShared,
            incoming.sharedCopy)
    }

    @discardableResult
    private func take(
        _ detached: consuming DetachedConnection, from origin: ConnectionOrigin, isShared: Bool,
        _ sharedCopy: SharedCopy? = nil
    ) -> EchoConnection {
        guard let loop else { preconditionFailure("a service starts before it serves") }
        var configuration = ConnectionConfiguration()
        configuration.isShared = isShared
        configuration.sharedCopy = sharedCopy
        let connection = EchoConnection(
            loop, detached, service: self, traffic: traffic, origin: origin, configuration: configuration)
        connections.enter(connection)
        // With much to send from its former life, it waits for ``EchoConnection/becameWritable()``.
        connection.start(reading: connection.isWritable)
        return connection
    }

    /// Says FIN to each client that sends nothing for a moment, once all it sent has been sent back.
    public func drain(spread duration: Duration) {
        guard let host else { preconditionFailure("a service starts before it drains") }
        let now = MonotonicTime.now
        if let spread, spread.end <= now + duration { return }
        spread = SpreadEnds(connections.count, over: duration, now: now)
        guard sweep == nil else { return }
        sweep = LoopTimer(host.loop) { [unowned self] in finishQuiet() }
        finishQuiet()
    }

    private func finishQuiet() {
        let now = MonotonicTime.now
        for connection in connections.members where connection.isQuietAgain() && spread?.takeTurn(now: now) == true {
            connection.finishOutput()
        }
        sweep?.arm(after: Self.quietDuration)
    }

    /// Closes every connection, whatever is still to be sent.
    public func closeAll() {
        for connection in connections.members { connection.close() }
    }

    // MARK: Moving

    /// Begins with whichever clients it meets first: every echoed connection can move, at any time.
    public func freeze(_ max: Int) -> Int {
        var begun = 0
        for connection in connections.members where !connection.isRefused {
            guard begun < max else { break }
            if connection.freeze() { begun += 1 }
        }
        freezing += begun
        return begun
    }

    /// Every client may move again.
    public func retryRefused() {
        for connection in connections.members { connection.isRefused = false }
    }

    /// Sends back what the former process had not, and what comes.
    public func thaw(_ frozen: consuming FrozenConnection) -> Bool {
        guard frozen.sockets.count == 1, case .echo(let remainder)? = FrozenState(decoding: frozen.state) else {
            return false
        }
        let (origin, isRefused) = (ConnectionOrigin(frozen), frozen.isRefused)
        let fd = frozen.takeSockets()[0]
        let connection = take(DetachedConnection(fd: fd, remainder: remainder), from: origin, isShared: true)
        connection.isRefused = isRefused
        return true
    }

    fileprivate func frozen(_ connection: EchoConnection, _ detached: consuming DetachedConnection) {
        forget(connection)
        let state = FrozenState.echo(detached.remainder)
        host?.frozen(connection.origin.frozen([detached.takeDescriptor()], state: state.encoded))
    }

    fileprivate func ended(_ connection: EchoConnection) {
        forget(connection)
        host?.connectionEnded()
    }

    private func forget(_ connection: EchoConnection) {
        connections.strike(connection)
        if connection.isFreezing { freezing -= 1 }
    }
}

private final class EchoConnection: Connection, RosterMember {
    var place = -1
    let origin: ConnectionOrigin
    /// It is leaving for another process, or was when it broke.
    private(set) var isFreezing = false
    /// It was to leave, and nobody would have it: the next pass is for others.
    var isRefused = false
    private unowned let service: EchoService
    private let traffic: Traffic
    private var counted = Traffic.Counted()
    /// ``bytesReceived`` at the last look, if there was one.
    private var bytesReceivedBefore: UInt64?

    init(
        _ loop: EventLoop, _ detached: consuming DetachedConnection, service: EchoService, traffic: Traffic,
        origin: ConnectionOrigin, configuration: ConnectionConfiguration
    ) {
        self.origin = origin
        self.service = service
        self.traffic = traffic
        super.init(loop, detached, configuration: configuration)
    }

    override func received(_ bytes: RawSpan) {
        write(bytes)
        // A client that sends and does not read: the kernel's buffers hold what comes next, not ours.
        if !isWritable { pauseReading() }
    }

    override func becameWritable() {
        counted = traffic.count(self, since: counted)
        resumeReading()
    }

    override func flushed() {
        counted = traffic.count(self, since: counted)
    }

    /// Whether nothing has come since the last call, nothing is left to send, and FIN has not been said. The client's FIN
    /// then ends the connection.
    func isQuietAgain() -> Bool {
        let isQuiet = bytesReceived == bytesReceivedBefore && queuedBytes == 0 && parkedBytes == 0
        bytesReceivedBefore = bytesReceived
        return isQuiet && !isOutputFinished
    }

    /// Begins to leave; false when the connection is closing or leaving already.
    func freeze() -> Bool {
        let hasBegun = detach { [unowned self] detached in
            counted = traffic.count(self, since: counted)
            service.frozen(self, detached)
        }
        if hasBegun { isFreezing = true }
        return hasBegun
    }

    override func closed(_ reason: CloseReason) {
        counted = traffic.count(self, since: counted)
        service.ended(self)
    }
}
