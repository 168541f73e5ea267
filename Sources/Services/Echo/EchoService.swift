import Transport

/// Sends every byte back.
public final class EchoService: Service {
    private var host: ServiceHost?
    private var connections: [ObjectIdentifier: EchoConnection] = [:]
    private var isDraining = false
    private var ended = ServiceStatistics()

    /// A service that waits to be started.
    public init() {}

    /// The connection's own.
    public var descriptorsPerConnection: Int { 1 }

    /// Bytes in and out of all connections so far.
    public var statistics: ServiceStatistics {
        connections.values.reduce(into: ended) { $0.add($1) }
    }

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
        let connection = EchoConnection(host.loop, fd: incoming.fd, service: self, configuration)
        connections[ObjectIdentifier(connection)] = connection
        connection.start()
        if isDraining { connection.drain() }
    }

    /// Says FIN to each client as soon as all it sent has been sent back.
    public func drain() {
        isDraining = true
        for connection in connections.values { connection.drain() }
    }

    /// Closes every connection, whatever is still to be sent.
    public func closeAll() {
        for connection in connections.values { connection.close() }
    }

    fileprivate func ended(_ connection: EchoConnection) {
        connections.removeValue(forKey: ObjectIdentifier(connection))
        ended.add(connection)
        host?.connectionEnded()
    }
}

extension ServiceStatistics {
    fileprivate mutating func add(_ connection: Connection) {
        bytesReceived &+= connection.bytesReceived
        bytesSent &+= connection.bytesSent
    }
}

private final class EchoConnection: Connection {
    private unowned let service: EchoService
    private var isDraining = false

    init(_ loop: EventLoop, fd: Int32, service: EchoService, _ configuration: ConnectionConfiguration) {
        self.service = service
        super.init(loop, fd: fd, configuration: configuration)
    }

    override func received(_ bytes: RawSpan) {
        write(bytes)
        // A client that sends and does not read: the kernel's buffers hold what comes next, not ours.
        if !isWritable { pauseReading() }
    }

    override func becameWritable() {
        resumeReading()
    }

    override func flushed() {
        if isDraining { finishOutput() }
    }

    /// Says FIN as soon as every byte has been sent back; the client's FIN then ends the connection.
    func drain() {
        isDraining = true
        if queuedBytes == 0 { finishOutput() }
    }

    override func closed(_ reason: CloseReason) {
        service.ended(self)
    }
}
