import Glibc
import Logging
import Transport

/// Several services on one loop: a connection goes to the one that its listener has.
public final class ListenerServices: Service {
    private let routes: [UInt16: any Service]
    /// Each once, though several listeners may have it.
    private let services: [any Service]
    private let logger: Logger
    private var host: ServiceHost?
    /// Those that are still to become ready.
    private var unready: Int
    /// Where ``freeze(_:)`` begins: each service in its turn.
    private var next = 0

    /// The service of each listener, at least one, none of them started.
    public init(_ routes: [UInt16: any Service], logger: Logger) {
        precondition(!routes.isEmpty, "a worker serves something")
        self.routes = routes
        self.logger = logger
        var seen: Set<ObjectIdentifier> = []
        services = routes.sorted { $0.key < $1.key }.map(\.value).filter { seen.insert(ObjectIdentifier($0)).inserted }
        unready = services.count
    }

    /// That of the neediest service.
    public var descriptorsPerConnection: Int {
        services.reduce(1) { max($0, $1.descriptorsPerConnection) }
    }

    /// Of all services together.
    public var statistics: ServiceStatistics {
        services.reduce(into: ServiceStatistics()) { sum, service in
            let statistics = service.statistics
            sum.bytesReceived &+= statistics.bytesReceived
            sum.bytesSent &+= statistics.bytesSent
            sum.upstreamConnectFailures &+= statistics.upstreamConnectFailures
        }
    }

    /// Is ready when the last of them is.
    public func start(_ host: ServiceHost) throws {
        self.host = host
        let each = ServiceHost(
            loop: host.loop, ready: { [unowned self] in becameReady() }, connectionEnded: host.connectionEnded,
            frozen: host.frozen, failed: host.failed)
        for service in services { try service.start(each) }
    }

    private func becameReady() {
        precondition(unready > 0, "a service becomes ready once")
        unready -= 1
        if unready == 0 { host?.ready() }
    }

    /// Gives the connection to its listener's service. Of a listener that is not ours it is closed: the supervisor has sent
    /// it here by mistake.
    public func serve(_ connection: IncomingConnection) {
        if let service = routes[connection.listener] { return service.serve(connection) }
        logger.error(
            "connection closed: no such listener", metadata: ["listener": .stringConvertible(connection.listener)])
        // Another process may hold a copy, so that closing alone would tell the peer nothing.
        shutdown(connection.fd, Int32(SHUT_RDWR))
        close(connection.fd)
        host?.connectionEnded()
    }

    /// Of all services together.
    public var freezing: Int { services.reduce(0) { $0 + $1.freezing } }

    /// Asks one service after the other, and begins with another one each time.
    public func freeze(_ max: Int) -> Int {
        var begun = 0
        for index in services.indices where begun < max {
            begun += services[(next + index) % services.count].freeze(max - begun)
        }
        next = (next + 1) % services.count
        return begun
    }

    /// In all services.
    public func retryRefused() {
        for service in services { service.retryRefused() }
    }

    /// Gives the connection to its listener's service; closes it when there is none.
    public func thaw(_ frozen: consuming FrozenConnection) -> Bool {
        guard let service = routes[frozen.listener] else { return false }
        return service.thaw(frozen)
    }

    /// Drains each.
    public func drain(spread: Duration) {
        for service in services { service.drain(spread: spread) }
    }

    /// Ends all connections of all services.
    public func closeAll() {
        for service in services { service.closeAll() }
    }

    /// Is done when the last of them is.
    public func stop(_ done: @escaping () -> Void) {
        var left = services.count
        for service in services {
            service.stop {
                left -= 1
                if left == 0 { done() }
            }
        }
    }
}
