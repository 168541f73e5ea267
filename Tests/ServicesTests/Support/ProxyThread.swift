import Foundation
import Logging
import Synchronization
import Testing
import Transport

@testable import Services

/// A proxy on a loop's thread.
typealias ProxyThread = ServiceThread<ProxyService>

extension ServiceThread where Running == ProxyService {
    /// A proxy to these upstreams. Nothing fails by time unless a test sets the time.
    convenience init(
        to upstreams: [SocketAddress], listeningOn address: SocketAddress = .ipv4(0x7f00_0001, port: 0),
        log: LogCounter = LogCounter(), _ configure: @Sendable (inout ProxyConfiguration) -> Void = { _ in }
    ) throws {
        var configuration = ProxyConfiguration(upstreams: upstreams.map { .address($0) })
        configuration.connectTimeout = .seconds(60)
        configuration.proxyHeaderTimeout = .seconds(60)
        configuration.restDuration = .seconds(3600)
        configure(&configuration)
        let final = configuration
        try self.init(listeningOn: address) { ProxyService(final, logger: log.logger) }
        try state.wait(for: "the proxy to be ready") { $0.isReady }
    }

    /// The connections that each upstream has, as the pool counts them.
    var upstreamConnections: [Int] {
        get throws { try on { service, _ in (0..<service.pool.count).map { service.pool.connections(of: $0) } } }
    }

    /// `finish`, and the pool must have forgotten every connection.
    func finishProxy(sourceLocation: SourceLocation = #_sourceLocation) throws {
        try finish(sourceLocation: sourceLocation) { service in
            #expect(service.sessions.isEmpty, sourceLocation: sourceLocation)
            let isForgotten = (0..<service.pool.count).allSatisfy { service.pool.connections(of: $0) == 0 }
            #expect(isForgotten, "the pool still counts connections", sourceLocation: sourceLocation)
        }
    }
}

/// A logger that counts lines by level and message.
final class LogCounter: Sendable {
    private let lines = Mutex<[String: Int]>([:])

    var logger: Logger { Logger(label: "test") { _ in Handler(counter: self) } }

    func count(_ level: Logger.Level, _ message: String) -> Int {
        lines.withLock { $0["\(level): \(message)"] ?? 0 }
    }

    private struct Handler: LogHandler {
        let counter: LogCounter
        var logLevel = Logger.Level.trace
        var metadata: Logger.Metadata = [:]

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            counter.lines.withLock { $0["\(event.level): \(event.message)", default: 0] += 1 }
        }
    }
}

/// A client and a server, joined by a proxy.
struct ProxiedPair {
    let proxy: ProxyThread
    let client: Peer
    let server: Peer

    init(
        upstream: SocketAddress = .ipv4(0x7f00_0001, port: 0),
        listeningOn address: SocketAddress = .ipv4(0x7f00_0001, port: 0),
        _ configure: @Sendable (inout ProxyConfiguration) -> Void = { _ in }
    ) throws {
        let upstream = try FakeUpstream(upstream)
        proxy = try ProxyThread(to: [upstream.address], listeningOn: address, configure)
        client = try Peer(to: proxy.address)
        server = try upstream.accept()
    }

    /// Whether a few bytes pass in both directions.
    func passesBytes() throws -> Bool {
        try client.send("question")
        guard try server.receiveText(8) == "question" else { return false }
        try server.send("answer")
        return try client.receiveText(6) == "answer"
    }

    /// The two ends, each way.
    func ends(_ direction: Direction) -> (from: Peer, to: Peer) {
        direction == .fromClient ? (client, server) : (server, client)
    }

    enum Direction: CaseIterable, CustomTestStringConvertible {
        case fromClient, fromServer
        var testDescription: String { self == .fromClient ? "from client to server" : "from server to client" }
    }
}
