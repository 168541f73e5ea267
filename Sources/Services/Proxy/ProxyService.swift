import Logging
import Transport

/// A layer-4 proxy: passes the bytes of each client to an upstream and back, and FIN and RST with them.
public final class ProxyService: Service {
    let configuration: ProxyConfiguration
    let logger: Logger
    private(set) var host: ServiceHost?
    var pool: UpstreamPool
    private var names: UpstreamNames?
    private var sessions: [ObjectIdentifier: ProxySession] = [:]
    private var ended = ServiceStatistics()
    private var connectFailures: UInt64 = 0
    private var isReady = false

    /// A proxy that waits to be started.
    public init(_ configuration: ProxyConfiguration, logger: Logger) {
        precondition(!configuration.upstreams.isEmpty && configuration.connectAttemptsMax >= 1)
        self.configuration = configuration
        self.logger = logger
        pool = UpstreamPool(
            addresses: configuration.upstreams.map { upstream in
                if case .address(let address) = upstream { [address] } else { [] }
            },
            policy: configuration.policy, restDuration: configuration.restDuration)
    }

    /// The client's connection and its upstream's.
    public var descriptorsPerConnection: Int { 2 }

    /// Bytes to and from clients so far, and upstreams not reached.
    public var statistics: ServiceStatistics {
        var sum = sessions.values.reduce(into: ended) { $0.add($1) }
        sum.upstreamConnectFailures = connectFailures
        return sum
    }

    /// Is ready at once, or as soon as one upstream has an address when all are host names.
    public func start(_ host: ServiceHost) throws {
        self.host = host
        if configuration.upstreams.contains(where: { if case .name = $0 { true } else { false } }) {
            let names = UpstreamNames(
                host.loop, resolver: try Resolver(), upstreams: configuration.upstreams,
                interval: configuration.resolveInterval, logger: logger
            ) { [unowned self] upstream, addresses in
                pool.updateAddresses(upstream, addresses)
                becomeReady()
            }
            self.names = names
            names.start()
        }
        if configuration.upstreams.contains(where: { if case .address = $0 { true } else { false } }) { becomeReady() }
    }

    private func becomeReady() {
        guard !isReady else { return }
        isReady = true
        host?.ready()
    }

    /// Connects the client to an upstream, or closes it when none can be reached.
    public func serve(_ connection: IncomingConnection) {
        guard let host else { preconditionFailure("serve before start") }
        let session = ProxySession(self, host.loop, connection)
        sessions[ObjectIdentifier(session)] = session
        session.start()
    }

    /// A proxy does not know when a conversation is over: each ends when its two sides end it, or at the deadline.
    public func drain() {
        names?.stop()
    }

    /// Closes every client and its upstream, whatever is still to be sent.
    public func closeAll() {
        for session in sessions.values { session.close() }
    }

    func ended(_ session: ProxySession) {
        sessions.removeValue(forKey: ObjectIdentifier(session))
        ended.add(session)
        host?.connectionEnded()
    }

    func connectFailed(_ choice: UpstreamPool.Choice, _ error: ConnectError) {
        connectFailures &+= 1
        pool.connectFailed(choice, now: .now)
        logger.warning(
            "upstream not reached; it rests",
            metadata: [
                "upstream": "\(choice.address)", "error": "\(error.text)",
                "rest": "\(configuration.restDuration)",
            ])
    }
}

extension ConnectError {
    /// One clause for a log line.
    var text: String {
        switch self {
        case .timedOut: "connect: timed out"
        case .cancelled: "connect: cancelled"
        case .failed(let error): "\(error)"
        }
    }
}

extension ServiceStatistics {
    fileprivate mutating func add(_ session: ProxySession) {
        bytesReceived &+= session.client.bytesReceived
        bytesSent &+= session.client.bytesSent
    }
}
