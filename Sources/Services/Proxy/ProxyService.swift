import Glibc
import Logging
import Transport

/// A layer-4 proxy: passes the bytes of each client to an upstream and back, and FIN and RST with them.
public final class ProxyService: Service {
    let configuration: ProxyConfiguration
    let logger: Logger
    let traffic = Traffic()
    var pool: UpstreamPool
    private let lookup: Resolver.Lookup
    private var host: ServiceHost?
    private var names: UpstreamNames?
    private(set) var sessions: [ObjectIdentifier: ProxySession] = [:]
    /// Pairs that leave, and neither have left nor broken.
    public private(set) var freezing = 0
    private var isReady = false
    /// What could not be connected since it last could, so that an outage is logged once and not for each client.
    private var unreached: Set<UpstreamPool.Choice> = []
    /// The last client found no upstream.
    private var isWithoutUpstream = false
    /// Until when a shortage is not logged again.
    private var shortageSaidUntil = MonotonicTime(nanoseconds: 0)
    private static let shortageSilence: Duration = .seconds(10)

    /// A proxy that waits to be started. Keep it until its loop has ended.
    public convenience init(_ configuration: ProxyConfiguration, logger: Logger) {
        self.init(configuration, logger: logger, lookup: HostLookup.addresses)
    }

    init(_ configuration: ProxyConfiguration, logger: Logger, lookup: @escaping Resolver.Lookup) {
        precondition(!configuration.upstreams.isEmpty && configuration.connectAttemptsMax >= 1)
        self.configuration = configuration
        self.logger = logger
        self.lookup = lookup
        pool = UpstreamPool(
            addresses: configuration.upstreams.map { upstream in
                if case .address(let address) = upstream { [address] } else { [] }
            },
            policy: configuration.policy, restDuration: configuration.restDuration)
    }

    /// The client's connection and its upstream's.
    public var descriptorsPerConnection: Int { 2 }

    /// Bytes to and from clients so far, and upstreams not reached.
    public var statistics: ServiceStatistics { traffic.statistics }

    /// Is ready at once, or as soon as one upstream has an address when all are host names.
    public func start(_ host: ServiceHost) throws {
        self.host = host
        if configuration.upstreams.contains(where: { if case .name = $0 { true } else { false } }) {
            let names = UpstreamNames(
                host.loop, resolver: try Resolver(lookup: lookup), upstreams: configuration.upstreams,
                interval: configuration.resolveInterval, logger: logger
            ) { [unowned self] upstream, addresses in
                resolved(upstream, addresses)
            }
            self.names = names
            names.start()
        }
        if configuration.upstreams.contains(where: { if case .address = $0 { true } else { false } }) { becomeReady() }
    }

    private func resolved(_ upstream: Int, _ addresses: [SocketAddress]) {
        pool.updateAddresses(upstream, addresses)
        unreached = unreached.filter { $0.upstream != upstream || addresses.contains($0.address) }
        becomeReady()
    }

    private func becomeReady() {
        guard !isReady else { return }
        isReady = true
        host?.ready()
    }

    /// Connects the client to an upstream, or closes it when none can be reached.
    public func serve(_ connection: IncomingConnection) {
        guard let host else { preconditionFailure("a service starts before it serves") }
        let session = ProxySession(self, host.loop, connection)
        sessions[ObjectIdentifier(session)] = session
        session.start()
    }

    /// A proxy does not know when a conversation is over: each ends when its two sides end it, or at the deadline.
    /// So `spread` has nothing to spread.
    public func drain(spread: Duration) {
        names?.stop()
    }

    /// Closes every client and its upstream, whatever is still to be sent.
    public func closeAll() {
        for session in sessions.values { session.close() }
    }

    func ended(_ session: ProxySession) {
        let removed = sessions.removeValue(forKey: ObjectIdentifier(session))
        precondition(removed != nil, "a session ends once")
        host?.connectionEnded()
    }

    // MARK: Moving

    /// Begins with whichever pairs it meets first. One that is still being connected, or of which one side has ended
    /// already, stays.
    public func freeze(_ max: Int) -> Int {
        var begun = 0
        for session in sessions.values where !session.isRefused {
            guard begun < max else { break }
            if session.freeze() { begun += 1 }
        }
        freezing += begun
        return begun
    }

    /// Every pair may move again.
    public func retryRefused() {
        for session in sessions.values { session.isRefused = false }
    }

    /// Goes on passing bytes between the two, also when none of this proxy's upstreams has that address any more.
    public func thaw(_ frozen: consuming FrozenConnection) -> Bool {
        guard let host else { preconditionFailure("a service starts before it serves") }
        guard frozen.sockets.count == 2, case .pair(let pair)? = FrozenState(decoding: frozen.state) else {
            return false
        }
        let (origin, isRefused) = (ConnectionOrigin(frozen), frozen.isRefused)
        let session = ProxySession(self, host.loop, origin, pair, sockets: frozen.takeSockets())
        session.isRefused = isRefused
        sessions[ObjectIdentifier(session)] = session
        session.goOn(lastActivity: pair.lastActivity)
        return true
    }

    /// A session that was being frozen is not any more: it broke, or it is complete.
    func freezingEnded() {
        precondition(freezing > 0, "freezing ends once")
        freezing -= 1
    }

    func left(_ session: ProxySession, as frozen: consuming FrozenConnection) {
        let removed = sessions.removeValue(forKey: ObjectIdentifier(session))
        precondition(removed != nil, "a session leaves once")
        host?.frozen(frozen)
    }

    // MARK: Upstreams

    func connectSucceeded(_ choice: UpstreamPool.Choice) {
        pool.connectSucceeded(choice)
        isWithoutUpstream = false
        if unreached.remove(choice) != nil {
            logger.info("upstream reached again", metadata: ["upstream": "\(choice.address)"])
        }
    }

    func connectFailed(_ choice: UpstreamPool.Choice, _ error: ConnectError) {
        traffic.countConnectFailure()
        if !error.isShortage { pool.connectFailed(choice, now: .now) }
        guard unreached.insert(choice).inserted else { return }
        logger.warning(
            "upstream not reached; from now on it is tried now and then",
            metadata: ["upstream": "\(choice.address)", "error": "\(error.text)"])
    }

    /// This process, not the upstream, lacks something: the client waits. Logged now and then, not for each attempt.
    func connectDelayed(_ error: ConnectError) {
        traffic.countConnectFailure()
        guard shortageSaidUntil < .now else { return }
        shortageSaidUntil = .now + Self.shortageSilence
        logger.warning(
            "no upstream connection can be opened for now; clients wait (raise RLIMIT_NOFILE or lower --max-connections)",
            metadata: ["error": "\(error.text)"])
    }

    func noUpstream(for peer: SocketAddress, tried: Int) {
        logger.log(
            level: isWithoutUpstream ? .debug : .warning, "client closed: no upstream can be reached",
            metadata: ["peer": "\(peer)", "tried": .stringConvertible(tried)])
        isWithoutUpstream = true
    }
}

extension ConnectError {
    /// This process or machine is short of descriptors or memory: the upstream is not to blame.
    var isShortage: Bool {
        guard case .failed(let error) = self else { return false }
        return [EMFILE, ENFILE, ENOBUFS, ENOMEM].contains(error.code)
    }

    /// One clause for a log line.
    fileprivate var text: String {
        switch self {
        case .timedOut: "connect: timed out"
        case .cancelled: "connect: cancelled"
        case .failed(let error): "\(error)"
        }
    }
}
