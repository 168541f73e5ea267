import Glibc
import Transport

/// What a worker does with connections. It has one, and one thread: no locks.
final class LineService: Service {
    let descriptorsPerConnection = 1
    private(set) var statistics = ServiceStatistics()
    private var host: ServiceHost?
    private var clients: [ObjectIdentifier: LineClient] = [:]

    func start(_ host: ServiceHost) {
        self.host = host
        host.ready()
    }

    func serve(_ incoming: IncomingConnection) {
        guard let host else { preconditionFailure("a service starts before it serves") }
        let client = LineClient(host.loop, incoming, of: self)
        clients[ObjectIdentifier(client)] = client
        client.start()
    }

    func ended(_ client: LineClient) {
        statistics.bytesReceived += client.bytesReceived
        statistics.bytesSent += client.bytesSent
        clients[ObjectIdentifier(client)] = nil
        host?.connectionEnded()
    }

    /// The worker leaves: who has not begun a line is told now, the others when they have their answer.
    func drain(spread: Duration) { for client in clients.values { client.leave() } }

    func closeAll() { for client in clients.values { client.close() } }
}

/// One client. Bytes come as the network cut them: a line may take several calls, a call may bring several lines.
final class LineClient: Connection {
    private unowned let service: LineService
    private var unfinished: [UInt8] = []
    private var count = 0
    private var isLeaving = false
    private static let lineBytesMax = 4096

    init(_ loop: EventLoop, _ incoming: IncomingConnection, of service: LineService) {
        self.service = service
        var configuration = ConnectionConfiguration()
        // The supervisor still has a copy of the socket: closing ours alone would tell the client nothing.
        configuration.isShared = incoming.isShared
        super.init(loop, fd: incoming.fd, configuration: configuration)
    }

    override func received(_ bytes: RawSpan) {
        bytes.withUnsafeBytes { unfinished += $0 }
        while !isOutputFinished, let end = unfinished.firstIndex(of: UInt8(ascii: "\n")) {
            count += 1
            switch String(decoding: unfinished[..<end], as: UTF8.self) {
            case "pid": say("\(getpid())")
            case "count": say("\(count)")
            case "quit": finishOutput()
            default: say("say pid, count or quit")
            }
            unfinished.removeSubrange(...end)
        }
        if unfinished.count > Self.lineBytesMax { abort() }
        if isLeaving { leave() }
        // Who does not read his answers is not listened to.
        if !isWritable { pauseReading() }
    }

    private func say(_ line: String) { _ = write("\(line)\n".utf8Span.span.bytes) }

    func leave() {
        isLeaving = true
        if unfinished.isEmpty { finishOutput() }
    }

    override func becameWritable() { resumeReading() }
    override func closed(_ reason: CloseReason) { service.ended(self) }
}
