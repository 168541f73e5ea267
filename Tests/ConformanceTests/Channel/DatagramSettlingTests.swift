import Foundation
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Datagrams: what becomes of sends")
struct DatagramSettlingTests {
    private static let tooLong = DatagramOutcome.failed(SystemError("sendmmsg", code: EMSGSIZE))

    private static func telling(_ datagram: RecordingDatagram) {
        datagram.onSettled = { _, _, _ in }
    }

    @Test(
        "every send is told of once, in order, and a failure not otherwise",
        arguments: across(TransportMode.available, AddressFamily.allCases))
    func order(mode: TransportMode, family: AddressFamily) throws {
        let peer = try DatagramPeer(family.address)
        let fd = try Socket.datagram(boundTo: family.address)
        _ = Socket.set(fd, SOL_SOCKET, SO_SNDBUF, 65536)
        let client = try TestDatagram(mode, fd: fd, setUp: Self.telling)
        try client.on { client in
            for _ in 0..<3 { client.send([1], to: peer.address) }
            client.send(pattern(200_000), to: peer.address)
            client.send([2], to: peer.address)
        }
        #expect(try client.recorder.waitForOutcomes(5) == [.taken, .taken, .taken, Self.tooLong, .taken])
        #expect(client.recorder.all.allSatisfy { $0.error == nil })
        try client.join()
    }

    @Test("a send of more segments than the kernel splits at once is one", arguments: TransportMode.available)
    func segments(mode: TransportMode) throws {
        let peer = try DatagramPeer()
        _ = Socket.set(peer.fd, SOL_SOCKET, SO_RCVBUF, 4 * 1024 * 1024)
        let client = try TestDatagram(mode, setUp: Self.telling)
        try client.on { client in
            client.send(pattern(200 * 100), to: peer.address, segmentSize: 100)
            client.send(pattern(200 * 100), to: .ipv6(high: 0, low: 1, port: 9, scope: 0), segmentSize: 100)
            client.send([1], to: peer.address)
        }
        let outcomes = try client.recorder.waitForOutcomes(3)
        #expect(outcomes == [.taken, .failed(SystemError("sendmmsg", code: EAFNOSUPPORT)), .taken])
        for _ in 0..<200 { #expect(try peer.receive().count == 100) }
        #expect(try peer.receive() == [1])
        #expect(try client.on { $0.statistics.dropped } == 1)
        try client.join()
    }

    @Test("closing tells of what was sent and of what was dropped, before the end", arguments: TransportMode.available)
    func closing(mode: TransportMode) throws {
        let peer = try DatagramPeer(.temporaryUnix())
        let client = try TestDatagram(mode, .temporaryUnix(), setUp: Self.telling)
        let count = 2000
        try client.on { client in
            #expect(throws: Never.self) { try client.connect(to: peer.address) }
            for _ in 0..<count { client.send([1]) }
            client.close()
            #expect(client.recorder.all.isEmpty, "nothing is told before the call returns")
        }
        #expect(try client.recorder.waitForEnd() == .closed)
        let outcomes = client.recorder.outcomes
        let taken = outcomes.prefix { $0 == .taken }.count
        #expect(outcomes.count == count && taken > 0 && taken < count, "the case was not reached")
        #expect(outcomes[taken...].allSatisfy { $0 == .dropped })
        try client.join()
    }

    @Test("a new peer: the sends before it are told of before those behind it", arguments: TransportMode.available)
    func newPeer(mode: TransportMode) throws {
        let (first, second) = (try DatagramPeer(), try DatagramPeer())
        let client = try TestDatagram(mode, setUp: Self.telling)
        try client.on { client in
            client.send([1], to: first.address)
            client.send(pattern(70_000), to: first.address)
            #expect(throws: Never.self) { try client.connect(to: second.address) }
            client.send([2])
            #expect(client.recorder.all.isEmpty, "nothing is told before the call returns")
        }
        #expect(try client.recorder.waitForOutcomes(3) == [.taken, Self.tooLong, .taken])
        #expect(try first.receive() == [1])
        #expect(try second.receive() == [2])
        try client.join()
    }

    @Test("a service that reconnects when it is told of a send keeps the order", arguments: TransportMode.available)
    func reentrant(mode: TransportMode) throws {
        let (first, second) = (try DatagramPeer(), try DatagramPeer())
        let client = try TestDatagram(mode) { client in
            client.onSettled = { client, _, outcome in
                guard outcome != .taken, client.peerAddress == nil else { return }
                #expect(throws: Never.self) { try client.connect(to: second.address) }
                client.send([3])
            }
        }
        try client.on { client in
            client.send(pattern(70_000), to: first.address)
            client.send([1], to: first.address)
            client.send(pattern(70_000), to: first.address)
            client.send([2], to: first.address)
        }
        #expect(try client.recorder.waitForOutcomes(5) == [Self.tooLong, .taken, Self.tooLong, .taken, .taken])
        #expect(try first.receive() == [1])
        #expect(try first.receive() == [2])
        #expect(try second.receive() == [3])
        try client.join()
    }

    @Test(
        "traffic class and destination are told where the socket is asked to",
        arguments: across(TransportMode.available, [AddressFamily.ipv4, .ipv6]))
    func control(mode: TransportMode, family: AddressFamily) throws {
        var configuration = DatagramConfiguration()
        configuration.receivesControl = true
        let server = try TestDatagram(mode, family.address, configuration: configuration)
        let client = try TestDatagram(mode, family.address)
        try client.on { _ = $0.send([1], to: server.address, trafficClass: 0xba) }
        _ = try server.recorder.waitForDatagrams(1)
        try server.on { server in
            #expect(throws: Never.self) {
                try server.set(.tellsTrafficClass, true)
                try server.set(.tellsDestination, true)
            }
        }
        try client.on { client in
            client.send([2], to: server.address, trafficClass: 0xba)
            client.send([3], to: server.address)
        }
        _ = try server.recorder.waitForDatagrams(3)
        let headers = server.recorder.all.compactMap(\.header)
        #expect(headers.map(\.trafficClass) == [nil, 0xba, 0])
        let destination = DatagramDestination(address: server.address.withPort(0), interface: if_nametoindex("lo"))
        #expect(headers.map(\.destination) == [nil, destination, destination])
        try client.join()
        try server.join()
    }

    @Test("a path stays where that is wanted", arguments: TransportMode.available)
    func path(mode: TransportMode) throws {
        var configuration = DatagramConfiguration()
        configuration.removesPath = false
        let address = SocketAddress.temporaryUnix()
        let datagram = try TestDatagram(mode, address, configuration: configuration)
        try datagram.on { $0.close() }
        #expect(try datagram.recorder.waitForEnd() == .closed)
        #expect(unlink(address.host) == 0)
        try datagram.join()
    }
}
