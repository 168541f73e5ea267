import Foundation
import Logging
import Testing
import Transport

@testable import TransportTesting
@testable import Worker

/// A service that writes down what it is told.
private final class Recorder: Service {
    var descriptorsPerConnection: Int
    var statistics = ServiceStatistics()
    var freezing = 0
    /// How many it will begin to freeze.
    var movable = 0
    var host: ServiceHost?
    var calls: [String] = []

    init(descriptors: Int = 1) {
        descriptorsPerConnection = descriptors
    }

    func start(_ host: ServiceHost) { self.host = host }
    func serve(_ connection: IncomingConnection) { calls.append("serve \(connection.listener)") }
    func thaw(_ frozen: consuming FrozenConnection) -> Bool {
        calls.append("thaw \(frozen.listener)")
        return true
    }
    func freeze(_ max: Int) -> Int {
        let begun = min(max, movable)
        movable -= begun
        freezing += begun
        return begun
    }
    func retryRefused() { calls.append("retryRefused") }
    func drain(spread: Duration) { calls.append("drain \(spread)") }
    func closeAll() { calls.append("closeAll") }
}

@Suite("services by listener")
struct ListenerServicesTests {
    private let first = Recorder()
    private let second = Recorder(descriptors: 3)
    private let services: ListenerServices

    init() {
        services = ListenerServices([4: first, 7: second, 9: first], logger: Logger(label: "test"))
    }

    private func incoming(_ listener: UInt16, fd: Int32 = -1) -> IncomingConnection {
        IncomingConnection(fd: fd, listener: listener, peer: .unix(path: ""), acceptedAt: .now, isShared: true)
    }

    /// Both ends of a connection.
    private func pair() throws -> (ours: Int32, theirs: Int32) {
        var ends: [Int32] = [-1, -1]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        return (ends[0], ends[1])
    }

    @Test("each connection goes to its listener's service, new or thawed")
    func routing() throws {
        for listener: UInt16 in [4, 7, 9] { services.serve(incoming(listener)) }
        let (ours, theirs) = try pair()
        defer { close(theirs) }
        let isThawed = services.thaw(
            FrozenConnection(listener: 7, peer: .unix(path: ""), acceptedAt: .now, sockets: [ours], state: []))
        #expect(isThawed)
        #expect(first.calls == ["serve 4", "serve 9"])
        #expect(second.calls == ["serve 7", "thaw 7"])
    }

    @Test("a connection of a listener that nobody serves is closed, even if another process has a copy, and is over")
    func unknownListener() throws {
        let ended = Watched(0)
        try services.start(
            ServiceHost(
                loop: try EventLoop(TransportMode.usual.configuration), ready: {},
                connectionEnded: { ended.update { $0 += 1 } }))
        let (ours, theirs) = try pair()
        let copy = dup(ours)
        defer {
            close(copy)
            close(theirs)
        }
        services.serve(incoming(5, fd: ours))
        var byte: UInt8 = 0
        #expect(recv(theirs, &byte, 1, Int32(MSG_DONTWAIT)) == 0, "end of file")
        #expect(ended.value == 1)
        let thawed = services.thaw(
            FrozenConnection(listener: 5, peer: .unix(path: ""), acceptedAt: .now, sockets: [dup(copy)], state: []))
        #expect(!thawed)
        #expect(first.calls.isEmpty && second.calls.isEmpty)
    }

    @Test("it is ready when the last service is")
    func ready() throws {
        let ready = Watched(0)
        try services.start(
            ServiceHost(
                loop: try EventLoop(TransportMode.usual.configuration), ready: { ready.update { $0 += 1 } },
                connectionEnded: {}))
        second.host?.ready()
        #expect(ready.value == 0)
        first.host?.ready()
        #expect(ready.value == 1)
    }

    @Test("sums are of all services, each counted once; the neediest says what a connection needs")
    func sums() {
        first.statistics.bytesReceived = 1
        first.statistics.bytesSent = 2
        second.statistics.bytesReceived = 10
        second.statistics.upstreamConnectFailures = 4
        var expected = ServiceStatistics()
        expected.bytesReceived = 11
        expected.bytesSent = 2
        expected.upstreamConnectFailures = 4
        #expect(services.statistics == expected)
        #expect(services.descriptorsPerConnection == 3)
    }

    @Test("freezing asks one service after the other up to the limit, and begins with another each time")
    func freezing() {
        first.movable = 10
        second.movable = 10
        #expect(services.freeze(4) == 4)
        #expect((first.freezing, second.freezing) == (4, 0))
        #expect(services.freeze(4) == 4)
        #expect((first.freezing, second.freezing) == (4, 4))
        #expect(services.freeze(100) == 12)
        #expect(services.freezing == 20)
        #expect(services.freeze(1) == 0)
    }

    @Test("what was refused has its next turn in every service")
    func refused() {
        services.retryRefused()
        #expect(first.calls == ["retryRefused"])
        #expect(second.calls == first.calls)
    }

    @Test("every service drains and closes once, however many listeners it has")
    func ending() {
        services.drain(spread: .seconds(2))
        services.closeAll()
        #expect(first.calls == ["drain 2.0 seconds", "closeAll"])
        #expect(second.calls == first.calls)
    }
}
