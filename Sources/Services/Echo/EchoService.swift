import Transport

/// Sends every byte back.
public final class EchoService: Service {
    /// How long a client must have been silent to count as idle when the service drains.
    static let quietDuration: Duration = .milliseconds(50)

    private var host: ServiceHost?
    private var connections: [ObjectIdentifier: EchoConnection] = [:]
    private let traffic = Traffic()
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
        host.ready()
    }

    /// Sends back what comes until both sides have said FIN.
    public func serve(_ incoming: IncomingConnection) {
        guard let host else { preconditionFailure("serve before start") }
        var configuration = ConnectionConfiguration()
        configuration.isShared = incoming.isShared
        if incoming.peer.port != nil { Socket.setNoDelay(incoming.fd) }
        let connection = EchoConnection(
            host.loop, fd: incoming.fd, service: self, traffic: traffic, configuration: configuration)
        connections[ObjectIdentifier(connection)] = connection
        connection.start()
    }

    /// Says FIN to each client that sends nothing for a moment, once all it sent has been sent back.
    public func drain(spread: Duration) {
        guard let host, sweep == nil else { return }
        sweep = LoopTimer(host.loop) { [unowned self] in finishQuiet() }
        finishQuiet()
    }

    private func finishQuiet() {
        for connection in connections.values { connection.finishIfQuiet() }
        sweep?.arm(after: Self.quietDuration)
    }

    /// Closes every connection, whatever is still to be sent.
    public func closeAll() {
        for connection in connections.values { connection.close() }
    }

    fileprivate func ended(_ connection: EchoConnection) {
        connections.removeValue(forKey: ObjectIdentifier(connection))
        host?.connectionEnded()
    }
}

private final class EchoConnection: Connection {
    private unowned let service: EchoService
    private let traffic: Traffic
    private var counted = Traffic.Counted()
    /// ``bytesReceived`` at the last look, if there was one.
    private var bytesReceivedBefore: UInt64?

    init(
        _ loop: EventLoop, fd: Int32, service: EchoService, traffic: Traffic, configuration: ConnectionConfiguration
    ) {
        self.service = service
        self.traffic = traffic
        super.init(loop, fd: fd, configuration: configuration)
    }

    override func received(_ bytes: RawSpan) {
        write(bytes)
        // A client that sends and does not read: the kernel's buffers hold what comes next, not ours.
        if !isWritable { pauseReading() }
    }

    override func becameWritable() {
        traffic.count(self, since: &counted)
        resumeReading()
    }

    override func flushed() {
        traffic.count(self, since: &counted)
    }

    /// Says FIN if nothing has come since the last call and nothing is left to send. The client's FIN then ends the
    /// connection.
    func finishIfQuiet() {
        let isQuiet = bytesReceived == bytesReceivedBefore && queuedBytes == 0 && parkedBytes == 0
        bytesReceivedBefore = bytesReceived
        if isQuiet { finishOutput() }
    }

    override func closed(_ reason: CloseReason) {
        traffic.count(self, since: &counted)
        service.ended(self)
    }
}
