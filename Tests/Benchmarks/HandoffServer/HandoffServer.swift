// A server that says to each client, in 8 bytes of the machine's order, how many nanoseconds passed from when the
// supervisor had its accept's completion to when the worker's service got the connection, which it has adopted by then.
//
//   handoff-server --listen 127.0.0.1:7000 --workers 2
import Ringmaster
import Transport

@main struct HandoffServer: RingmasterApplication {
    static let name = "handoff-server"
    static let abstract = "Tells clients how long their hand-off took."

    func makeService(_ context: ServiceContext) -> any Service { HandoffService() }
}

final class HandoffService: Service {
    let descriptorsPerConnection = 1
    let statistics = ServiceStatistics()
    private var host: ServiceHost?
    private var clients: [ObjectIdentifier: HandoffClient] = [:]

    func start(_ host: ServiceHost) {
        self.host = host
        host.ready()
    }

    func serve(_ incoming: IncomingConnection) {
        let took = MonotonicTime.now.nanoseconds - incoming.acceptedAt.nanoseconds
        guard let host else { preconditionFailure("a service starts before it serves") }
        let client = HandoffClient(host.loop, incoming, of: self)
        clients[ObjectIdentifier(client)] = client
        client.start()
        withUnsafeBytes(of: took) { _ = client.write($0.bytes) }
    }

    func ended(_ client: HandoffClient) {
        clients[ObjectIdentifier(client)] = nil
        host?.connectionEnded()
    }

    func drain(spread: Duration) { closeAll() }
    func closeAll() { for client in clients.values { client.close() } }
}

final class HandoffClient: Connection {
    private unowned let service: HandoffService

    init(_ loop: EventLoop, _ incoming: IncomingConnection, of service: HandoffService) {
        self.service = service
        var configuration = ConnectionConfiguration()
        configuration.isShared = incoming.isShared
        super.init(loop, fd: incoming.fd, configuration: configuration)
    }

    override func received(_ bytes: RawSpan) {}
    override func closed(_ reason: CloseReason) { service.ended(self) }
}
