import Testing
import Transport

@testable import Services

@Suite("proxy: connecting")
struct ProxyConnectTests {
    @Test("when an upstream refuses, the next is tried, and the client notices nothing")
    func nextAfterRefusal() throws {
        let refusing = try RefusingUpstream()
        let upstream = try FakeUpstream()
        let proxy = try ProxyThread(to: [refusing.address, upstream.address])
        let client = try Peer(to: proxy.address)
        try client.send("question")
        let server = try upstream.accept()
        #expect(try server.receiveText(8) == "question")
        try server.send("answer")
        #expect(try client.receiveText(6) == "answer")
        #expect(try proxy.statistics.upstreamConnectFailures == 1)
        #expect(try proxy.upstreamConnections == [0, 1])
        try proxy.finishProxy()
    }

    @Test("when an attempt takes too long, the next upstream is tried; FIN sent meanwhile passes behind the request")
    func nextAfterTimeout() throws {
        let hanging = try HangingUpstream()
        let upstream = try FakeUpstream()
        let proxy = try ProxyThread(to: [hanging.address, upstream.address]) {
            $0.connectTimeout = .milliseconds(300)
        }
        let client = try Peer(to: proxy.address)
        try client.send("question")
        client.finishOutput()
        let server = try upstream.accept()
        #expect(try server.receiveText(8) == "question")
        #expect(try server.isAtEnd())
        try server.send("answer")
        server.finishOutput()
        #expect(try client.receiveText(6) == "answer")
        #expect(try client.isAtEnd())
        try proxy.waitUntilEnded(1)
        #expect(try proxy.statistics.upstreamConnectFailures == 1)
        try proxy.finishProxy()
    }

    @Test("when all refuse, the client is closed, each attempt is counted, and the outage is logged once")
    func allRefuse() throws {
        let refusing = try (0..<2).map { _ in try RefusingUpstream() }
        let log = LogCounter()
        let proxy = try ProxyThread(to: refusing.map(\.address), log: log)
        for count in 1...3 {
            let client = try Peer(to: proxy.address)
            #expect(try client.isEnded())
            try proxy.waitUntilEnded(count)
            #expect(try proxy.statistics.upstreamConnectFailures == 2 * UInt64(count))
        }
        #expect(log.count(.warning, "upstream not reached; from now on it is tried now and then") == 2)
        #expect(log.count(.warning, "client closed: no upstream can be reached") == 1)
        #expect(log.count(.debug, "client closed: no upstream can be reached") == 2)
        try proxy.finishProxy()
    }

    @Test("no more addresses are tried for one client than configured")
    func attemptsAreBounded() throws {
        let refusing = try (0..<3).map { _ in try RefusingUpstream() }
        let proxy = try ProxyThread(to: refusing.map(\.address)) { $0.connectAttemptsMax = 2 }
        #expect(try Peer(to: proxy.address).isEnded())
        try proxy.waitUntilEnded(1)
        #expect(try proxy.statistics.upstreamConnectFailures == 2)
        try proxy.finishProxy()
    }

    @Test("an upstream that failed rests and is not tried for later clients")
    func failedUpstreamRests() throws {
        let refusing = try RefusingUpstream()
        let upstream = try FakeUpstream()
        let proxy = try ProxyThread(to: [refusing.address, upstream.address])
        var peers: [Peer] = []
        for _ in 0..<4 {
            peers.append(try Peer(to: proxy.address))
            peers.append(try upstream.accept())
        }
        #expect(try proxy.statistics.upstreamConnectFailures == 1)
        #expect(try proxy.upstreamConnections == [0, 4])
        try proxy.finishProxy()
    }

    @Test("an upstream that has rested is tried again, and serves when it is back")
    func restedUpstreamIsProbed() throws {
        let returning = try RefusingUpstream()
        let upstream = try FakeUpstream()
        let log = LogCounter()
        let proxy = try ProxyThread(to: [returning.address, upstream.address], log: log) {
            $0.restDuration = .milliseconds(1)
        }
        let first = try Peer(to: proxy.address)
        let firstServer = try upstream.accept()
        #expect(try proxy.upstreamConnections == [0, 1])
        returning.open()
        var others: [Peer] = []
        try eventually("a connection to the one that is back") {
            others.append(try Peer(to: proxy.address))
            try eventually("it to be connected") { try proxy.upstreamConnections.reduce(0, +) == 1 + others.count }
            return try proxy.upstreamConnections[0] > 0
        }
        let back = returning.accept()
        try others.last!.send("welcome back")
        #expect(try back.receiveText(12) == "welcome back")
        #expect(log.count(.info, "upstream reached again") == 1)
        try withExtendedLifetime((first, firstServer)) { try proxy.finishProxy() }
    }

    @Test("round robin gives each upstream the same number of clients")
    func roundRobin() throws {
        let upstreams = try (0..<3).map { _ in try FakeUpstream() }
        let proxy = try ProxyThread(to: upstreams.map(\.address))
        let clients = try (0..<9).map { _ in try Peer(to: proxy.address) }
        for _ in 0..<3 { for upstream in upstreams { _ = try upstream.accept() } }
        #expect(!upstreams.contains { $0.hasConnection() })
        #expect(proxy.state.value.served == 9)
        try withExtendedLifetime(clients) { try proxy.finishProxy() }
    }

    @Test("least connections chooses the upstream with the fewest clients open")
    func leastConnections() throws {
        let upstreams = try (0..<2).map { _ in try FakeUpstream() }
        let proxy = try ProxyThread(to: upstreams.map(\.address)) { $0.policy = .leastConnections }
        func connect(_ upstream: Int) throws -> (Peer, Peer) {
            let client = try Peer(to: proxy.address)
            return (client, try upstreams[upstream].accept())
        }
        let first = try connect(0)
        let second = try connect(1)
        let third = try connect(0)
        #expect(try proxy.upstreamConnections == [2, 1])
        let fourth = try connect(1)
        for pair in [second, fourth] { pair.0.reset() }
        try eventually("both to be gone") { try proxy.upstreamConnections == [2, 0] }
        let others = [try connect(1), try connect(1)]
        #expect(try proxy.upstreamConnections == [2, 2])
        try withExtendedLifetime([first, third] + others) { try proxy.finishProxy() }
    }

    @Test("a client that leaves with RST while connecting takes the attempt with it")
    func clientLeavesWhileConnecting() throws {
        let hanging = try HangingUpstream()
        let proxy = try ProxyThread(to: [hanging.address])
        let client = try Peer(to: proxy.address)
        try client.send("question")
        try eventually("the attempt to begin") { try proxy.upstreamConnections == [1] }
        client.reset()
        try proxy.waitUntilEnded(1)
        #expect(try proxy.upstreamConnections == [0])
        #expect(try proxy.on { $1.channelCount } == 1, "only the listener is left")
        #expect(try proxy.statistics.upstreamConnectFailures == 0, "the upstream is not to blame")
        try proxy.finishProxy()
    }

    @Test("closeAll ends clients in every phase: joined, connecting, and before their header")
    func closeAll() throws {
        let upstream = try FakeUpstream()
        let joined = try ProxyThread(to: [upstream.address])
        let clients = try (0..<3).map { _ in try Peer(to: joined.address) }
        let servers = try (0..<3).map { _ in try upstream.accept() }
        let connecting = try ProxyThread(to: [try HangingUpstream().address])
        let header = try ProxyThread(to: [upstream.address]) { $0.acceptsProxyHeader = true }
        let waiting = [try Peer(to: connecting.address), try Peer(to: header.address)]
        for (proxy, count) in [(joined, 3), (connecting, 1), (header, 1)] {
            try proxy.state.wait(for: "the clients to be accepted") { $0.served == count }
            try proxy.on { service, _ in service.closeAll() }
            try proxy.waitUntilEnded(count)
        }
        for peer in clients + servers + waiting { #expect(try peer.isEnded()) }
        for proxy in [joined, connecting, header] { try proxy.finishProxy() }
    }

    @Test("a loop that stops while a client is connecting blames no upstream and tries no other")
    func stopWhileConnecting() throws {
        let hanging = try HangingUpstream()
        let upstream = try FakeUpstream()
        let proxy = try ProxyThread(to: [hanging.address, upstream.address])
        let client = try Peer(to: proxy.address)
        try eventually("the attempt to begin") { try proxy.upstreamConnections == [1, 0] }
        try proxy.stop { service in #expect(service.statistics.upstreamConnectFailures == 0) }
        #expect(!upstream.hasConnection())
        #expect(try client.isEnded())
    }
}
