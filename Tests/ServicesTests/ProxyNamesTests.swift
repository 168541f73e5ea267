import Foundation
import Synchronization
import Testing
import Transport

@testable import Services

/// A name server: says what it is told to say, counts the questions, and can keep them waiting.
private final class Names: Sendable {
    private struct State: Sendable {
        var answers: [String: SocketAddress] = [:]
        var asked: [String: Int] = [:]
        var answered = 0
        var isHeld = false
    }
    private let state = Watched(State())

    func set(_ host: String, _ address: SocketAddress?) {
        state.update { $0.answers[host] = address }
    }

    func hold() { state.update { $0.isHeld = true } }
    func release() { state.update { $0.isHeld = false } }

    var askedInAll: Int { state.value.asked.values.reduce(0, +) }
    var hasAnsweredAll: Bool { state.value.answered == askedInAll }
    func asked(_ host: String) -> Int { state.value.asked[host] ?? 0 }

    func waitUntilAsked(_ host: String, _ more: Int) throws {
        let count = asked(host) + more
        try state.wait(for: "\(host) to be looked up") { $0.asked[host] ?? 0 >= count }
    }

    func look(up host: String) throws(HostLookupError) -> [SocketAddress] {
        state.update { $0.asked[host, default: 0] += 1 }
        defer { state.update { $0.answered += 1 } }
        let failure = HostLookupError.failed(host: host, code: EAI_AGAIN, text: "try again")
        guard let state = try? state.wait(for: "the release", until: { !$0.isHeld }) else { throw failure }
        guard let address = state.answers[host] else { throw failure }
        return [address]
    }
}

@Suite("proxy: upstreams by host name")
struct ProxyNamesTests {
    private func proxy(
        _ upstreams: [UpstreamAddress], _ names: Names, log: LogCounter = LogCounter(),
        interval: Duration = .milliseconds(5)
    ) throws -> ProxyThread {
        var configuration = ProxyConfiguration(upstreams: upstreams)
        configuration.resolveInterval = interval
        configuration.restDuration = .seconds(3600)
        let final = configuration
        return try ProxyThread {
            ProxyService(final, logger: log.logger) { host, _ throws(HostLookupError) in try names.look(up: host) }
        }
    }

    private let db = UpstreamAddress.name(host: "db", port: 5432)

    /// A new client's connection, by the first byte that its upstream sends it.
    private func connect(_ proxy: ProxyThread, _ upstream: FakeUpstream) throws -> (client: Peer, server: Peer) {
        let client = try Peer(to: proxy.address)
        let server = try upstream.accept()
        try server.send("!")
        #expect(try client.receiveText(1) == "!")
        return (client, server)
    }

    @Test("the service is ready with the first answer and not before")
    func readyWithTheFirstAnswer() throws {
        let upstream = try FakeUpstream()
        let names = Names()
        names.set("db", upstream.address)
        names.hold()
        let proxy = try proxy([db], names)
        try names.waitUntilAsked("db", 1 - names.asked("db"))
        #expect(try proxy.on { service, _ in service.pool.choose(now: .now) } == nil)
        #expect(!proxy.state.value.isReady)
        names.release()
        try proxy.state.wait(for: "the proxy to be ready") { $0.isReady }
        let pair = try connect(proxy, upstream)
        try withExtendedLifetime(pair) { try proxy.finishProxy() }
    }

    @Test("with one upstream that needs no name the service is ready at once and uses that one")
    func readyAtOnce() throws {
        let upstream = try FakeUpstream()
        let names = Names()
        names.hold()
        let proxy = try proxy([db, .address(upstream.address)], names)
        try proxy.state.wait(for: "the proxy to be ready") { $0.isReady }
        let pairs = try (0..<2).map { _ in try connect(proxy, upstream) }
        names.release()
        try withExtendedLifetime(pairs) { try proxy.finishProxy() }
    }

    @Test("a name without an answer is asked again until it has one")
    func asksAgain() throws {
        let upstream = try FakeUpstream()
        let names = Names()
        let log = LogCounter()
        let proxy = try proxy([db], names, log: log)
        try names.waitUntilAsked("db", 1 - names.asked("db"))
        names.set("db", upstream.address)
        try proxy.state.wait(for: "the proxy to be ready") { $0.isReady }
        let pair = try connect(proxy, upstream)
        // The answer may have been there before the first question was.
        #expect(log.count(.warning, "host name not found") == log.count(.info, "host name found again"))
        try withExtendedLifetime(pair) { try proxy.finishProxy() }
    }

    @Test("while look-ups fail the last good answer stays in use, and the failure is logged once")
    func keepsTheLastAnswer() throws {
        let upstream = try FakeUpstream()
        let names = Names()
        let log = LogCounter()
        names.set("db", upstream.address)
        let proxy = try proxy([db], names, log: log)
        try proxy.state.wait(for: "the proxy to be ready") { $0.isReady }
        names.set("db", nil)
        try names.waitUntilAsked("db", 4)
        let pair = try connect(proxy, upstream)
        #expect(log.count(.warning, "host name not found") == 1)
        names.set("db", upstream.address)
        try eventually("the name to be found") { log.count(.info, "host name found again") == 1 }
        try withExtendedLifetime(pair) { try proxy.finishProxy() }
    }

    @Test("a new answer is for new clients; those connected to the old address stay")
    func newAnswer() throws {
        let (old, new) = (try FakeUpstream(), try FakeUpstream())
        let names = Names()
        names.set("db", old.address)
        let proxy = try proxy([db], names)
        try proxy.state.wait(for: "the proxy to be ready") { $0.isReady }
        let first = try connect(proxy, old)
        names.set("db", new.address)
        // The third question from now is asked after the answer to the second has been used.
        try names.waitUntilAsked("db", 3)
        let second = try connect(proxy, new)
        #expect(!old.hasConnection())
        try first.client.send("still here")
        #expect(try first.server.receiveText(10) == "still here")
        try withExtendedLifetime(second) { try proxy.finishProxy() }
    }

    @Test("draining during a look-up asks no more, and the answer that comes late is ignored")
    func drainDuringLookup() throws {
        let (old, new) = (try FakeUpstream(), try FakeUpstream())
        let names = Names()
        let log = LogCounter()
        names.set("db", old.address)
        names.set("replica", old.address)
        let proxy = try proxy([db, .name(host: "replica", port: 5432)], names, log: log)
        try proxy.state.wait(for: "the proxy to be ready") { $0.isReady }
        let first = try connect(proxy, old)
        names.hold()
        for host in ["db", "replica"] { names.set(host, new.address) }
        try eventually("a look-up to wait") { !names.hasAnsweredAll }
        try proxy.on { service, _ in service.drain(spread: .zero) }
        let asked = names.askedInAll
        names.release()
        try eventually("the late answer") { names.hasAnsweredAll }
        let second = try connect(proxy, old)
        try first.client.send("still here")
        #expect(try first.server.receiveText(10) == "still here")
        #expect(names.askedInAll == asked)
        #expect(log.count(.warning, "host name not found") == 0)
        try withExtendedLifetime(second) { try proxy.finishProxy() }
    }
}
