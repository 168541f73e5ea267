import Glibc
import Testing
import Transport

@testable import Services

@Suite(
    "proxy: no descriptor for an upstream connection",
    .enabled(
        if: DescriptorTable.limit <= DescriptorTable.descriptorsMax, "RLIMIT_NOFILE is too high to fill a table"))
struct ProxyShortageTests {
    /// A proxy with three upstreams and a joined pair, in a full descriptor table, and a client that found it full.
    private struct Scene {
        let log = LogCounter()
        let upstreams: [FakeUpstream]
        let proxy: ProxyThread
        let joined: (client: Peer, server: Peer)
        let waiting: Peer
        let taken: [Int32]

        init(connectTimeout: Duration) throws {
            upstreams = try (0..<3).map { _ in try FakeUpstream() }
            proxy = try ProxyThread(to: upstreams.map(\.address), log: log) { $0.connectTimeout = connectTimeout }
            joined.client = try Peer(to: proxy.address)
            joined.server = try upstreams[0].accept()
            // One for the next client, one for the proxy to accept it with.
            taken = DescriptorTable.fill(leaving: 2)
            waiting = try Peer(to: proxy.address)
        }

        func jointPairPassesBytes() throws -> Bool {
            try joined.client.send("still here")
            return try joined.server.receiveText(10) == "still here"
        }
    }

    /// Runs `body` with descriptors of its own.
    private func withOwnTable(_ body: @escaping @Sendable () throws -> Void) throws {
        let isDone: Bool? = try DescriptorTable.withOwn {
            try body()
            return true
        }
        if isDone == nil { try Test.cancel("close_range(2) is missing or denied here") }
    }

    @Test("the client waits, its bytes and its turn kept, and is connected when there is one")
    func waits() throws {
        try withOwnTable {
            let scene = try Scene(connectTimeout: .seconds(60))
            try scene.waiting.send("question")
            scene.waiting.finishOutput()
            try eventually("several attempts") { try scene.proxy.statistics.upstreamConnectFailures >= 3 }
            #expect(try scene.jointPairPassesBytes())
            #expect(try scene.proxy.upstreamConnections == [1, 0, 0])
            #expect(scene.proxy.state.value.ended == 0)
            // Room for the upstream connection, and for the test to accept it.
            for fd in scene.taken.suffix(8) { close(fd) }
            try eventually("the client to be connected") { try scene.proxy.upstreamConnections.reduce(0, +) == 2 }
            // Counted from the attempt on.
            try eventually("the upstream to have it") { scene.upstreams.contains { $0.hasConnection() } }
            let upstream = try #require(scene.upstreams.first { $0.hasConnection() })
            let server = try upstream.accept()
            #expect(try server.receiveText(8) == "question")
            #expect(try server.isAtEnd())
            let line = "no upstream connection can be opened for now; clients wait "
            #expect(scene.log.count(.warning, line + "(raise RLIMIT_NOFILE or lower --max-connections)") == 1)
            #expect(scene.log.count(.warning, "upstream not reached; from now on it is tried now and then") == 0)
            // No upstream rests: each has its turn.
            let turns = try scene.proxy.on { service, _ in
                (0..<3).map { _ in service.pool.choose(now: .now)?.upstream }
            }
            #expect(Set(turns) == [0, 1, 2])
            try scene.proxy.finishProxy()
        }
    }

    @Test("a client that has waited for the connect timeout is closed, once; no upstream rests for it")
    func givesUp() throws {
        try withOwnTable {
            let scene = try Scene(connectTimeout: .milliseconds(200))
            #expect(try scene.waiting.isEnded())
            try scene.proxy.waitUntilEnded(1)
            #expect(try scene.jointPairPassesBytes())
            let turns = try scene.proxy.on { service, _ in
                (0..<3).map { _ in service.pool.choose(now: .now)?.upstream }
            }
            #expect(Set(turns) == [0, 1, 2])
            try scene.proxy.finishProxy()
        }
    }

    @Test("a client that leaves while it waits is forgotten")
    func leaves() throws {
        try withOwnTable {
            let scene = try Scene(connectTimeout: .seconds(60))
            try eventually("an attempt") { try scene.proxy.statistics.upstreamConnectFailures >= 1 }
            scene.waiting.reset()
            try scene.proxy.waitUntilEnded(1)
            #expect(try scene.proxy.upstreamConnections == [1, 0, 0])
            try scene.proxy.finishProxy()
        }
    }
}
