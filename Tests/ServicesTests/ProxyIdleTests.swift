import Glibc
import Testing
import Transport

@testable import Services

@Suite("proxy: idle connections and draining")
struct ProxyIdleTests {
    @Test("a pair that passes no byte for the idle timeout is closed on both sides, and not before")
    func idle() throws {
        let pair = try ProxiedPair { $0.idleTimeout = .milliseconds(300) }
        #expect(try pair.passesBytes())
        let lastByte = MonotonicTime.now
        try pair.server.send("!")
        #expect(try pair.client.receiveText(1) == "!")
        #expect(try pair.client.isEnded())
        #expect(try pair.server.isEnded())
        #expect(MonotonicTime.now - lastByte >= .milliseconds(300))
        try pair.proxy.waitUntilEnded(1)
        try pair.proxy.finishProxy()
    }

    @Test("a half-closed pair is idle too")
    func idleHalfClosed() throws {
        let pair = try ProxiedPair { $0.idleTimeout = .milliseconds(300) }
        pair.client.finishOutput()
        #expect(try pair.server.isAtEnd())
        #expect(try pair.client.isEnded())
        try pair.proxy.waitUntilEnded(1)
        try pair.proxy.finishProxy()
    }

    @Test("bytes in one direction alone keep a pair open", arguments: ProxiedPair.Direction.allCases)
    func activity(direction: ProxiedPair.Direction) throws {
        let timeout: Duration = .seconds(1)
        let pair = try ProxiedPair { $0.idleTimeout = timeout }
        let (from, to) = pair.ends(direction)
        let begin = MonotonicTime.now
        var last = begin
        while last - begin < timeout * 2 {
            try from.send("x")
            let received = try to.receive(1)
            let now = MonotonicTime.now
            // A machine that stands still for so long makes the pair idle after all: then there is nothing to see.
            if now - last >= timeout { try Test.cancel("the machine is too busy to keep the pair active") }
            last = now
            try #require(received.count == 1, "the pair was closed after \(now - begin)")
            usleep(100_000)
        }
        try pair.proxy.finishProxy()
    }

    @Test("a reader that is slow to take what is queued is not idle while it reads")
    func slowReader() throws {
        let pair = try ProxiedPair()
        let sent = try pair.server.sendUntilStuck(pattern(64 << 20, seed: 1))
        let before = try activityOfLegs(pair)
        // Nothing new comes from the server: only what is queued moves.
        #expect(try pair.client.receive(sent / 2).count == sent / 2)
        try eventually("the sending to count as activity") { try activityOfLegs(pair) > before }
        try pair.proxy.finishProxy()
    }

    private func activityOfLegs(_ pair: ProxiedPair) throws -> MonotonicTime {
        try pair.proxy.on { service, _ in service.sessions.values.first!.client.lastActivity }
    }

    @Test("draining leaves pairs alone, also one that is still connecting, until they end by themselves")
    func drain() throws {
        let upstream = try FakeUpstream()
        let hanging = try HangingUpstream()
        let proxy = try ProxyThread(to: [hanging.address, upstream.address]) { $0.connectTimeout = .milliseconds(300) }
        let client = try Peer(to: proxy.address)
        try proxy.state.wait(for: "the client to be accepted") { $0.served == 1 }
        try proxy.on { service, _ in
            service.drain(spread: .zero)
            service.drain(spread: .zero)
        }
        let server = try upstream.accept()
        try client.send("during")
        #expect(try server.receiveText(6) == "during")
        #expect(proxy.state.value.ended == 0)
        client.finishOutput()
        #expect(try server.isAtEnd())
        server.finishOutput()
        #expect(try client.isAtEnd())
        try proxy.waitUntilEnded(1)
        try proxy.finishProxy()
    }
}
