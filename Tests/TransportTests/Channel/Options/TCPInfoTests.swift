import Glibc
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("TCP_INFO")
struct TCPInfoTests {
    /// Both ends of a connection over loopback.
    private func pair() throws -> (client: Peer, server: Peer) {
        let listener = try Socket.listen(.anyLoopback, backlog: 1)
        defer { close(listener) }
        let client = try Peer(connectingTo: #require(Socket.localAddress(of: listener)))
        let server = try SystemError.check(accept(listener, nil, nil), "accept")
        return (client, Peer(fd: server))
    }

    @Test("counts what was sent and received, and tells the state and the round trip")
    func connection() throws {
        let (client, server) = try pair()
        try client.send(pattern(3000))
        #expect(try server.receive(exactly: 3000).count == 3000)
        try server.send("x")
        #expect(try client.receive(exactly: 1).count == 1)
        let sent = try Socket.tcpInfo(of: client.fd)
        #expect(sent.state == .established)
        #expect(sent.roundTripTime > .zero && sent.roundTripTime < .seconds(5))
        #expect(sent.congestionWindow > 0 && sent.sendSegmentSizeMax > 500 && sent.pathMTU > 1000)
        #expect(sent.retransmissionTimeout >= .milliseconds(10) && sent.retransmissionTimeout < .seconds(120))
        #expect(sent.counters.bytesSent == 3000 && sent.counters.bytesRetransmitted == 0)
        // The SYN counts as a byte that is acknowledged.
        #expect(sent.counters.bytesAcknowledged == 3001 && sent.counters.notSentBytes == 0)
        #expect(sent.counters.bytesReceived == 1)
        #expect(try #require(sent.counters.segmentsSent) >= 3)
        #expect(try #require(sent.counters.segmentsReceived) >= 2)
        #expect(try #require(sent.counters.minimumRoundTripTime) <= sent.roundTripTime + .milliseconds(100))
        #expect(try #require(sent.counters.sendWindow) > 10_000)
        #expect(!sent.synDataAcknowledged && sent.totalRetransmits == 0 && sent.unacknowledged == 0)
        let received = try Socket.tcpInfo(of: server.fd)
        #expect(received.counters.bytesReceived == 3000 && received.counters.bytesSent == 1)
        #expect(received.receiveSpace > 0)
    }

    @Test("follows the states of a connection that closes")
    func states() throws {
        let (client, server) = try pair()
        client.finishOutput()
        #expect(try server.receiveToEnd().isEmpty)
        #expect(try Socket.tcpInfo(of: server.fd).state == .closeWait)
        try eventually("FIN acknowledged") { try Socket.tcpInfo(of: client.fd).state == .finWait2 }
        server.finishOutput()
        #expect(try client.receiveToEnd().isEmpty)
        try eventually("closed") { try Socket.tcpInfo(of: server.fd).state == .closed }
    }

    @Test("tells the queue of a listener")
    func listener() throws {
        let listener = try Socket.listen(.anyLoopback, backlog: 7)
        defer { close(listener) }
        let client = try Peer(connectingTo: #require(Socket.localAddress(of: listener)))
        let info = try Socket.tcpInfo(of: listener)
        #expect(info.state == .listening && info.unacknowledged == 1 && info.selectivelyAcknowledged == 7)
        withExtendedLifetime(client) {}
    }

    @Test("is refused on a socket that is not TCP")
    func unix() throws {
        let fd = try Socket.stream(AF_UNIX)
        defer { close(fd) }
        #expect(throws: SystemError("getsockopt(TCP_INFO)", code: EOPNOTSUPP)) { try Socket.tcpInfo(of: fd) }
    }

    @Test("of a kernel with a shorter structure, each number is there as soon as all its bytes are")
    func shorter() throws {
        let bytes = pattern(280, seed: 7)
        func counters(_ count: Int) throws -> TCPInfo.Counters {
            try #require(bytes.prefix(count).withUnsafeBytes { TCPInfo($0) }).counters
        }
        func expect<Number: Equatable>(_ path: KeyPath<TCPInfo.Counters, Number?>, endsAt end: Int) throws {
            #expect(try counters(end - 1)[keyPath: path] == nil)
            #expect(try counters(end)[keyPath: path] == counters(280)[keyPath: path])
            #expect(try counters(280)[keyPath: path] != nil)
        }
        for count in 0..<104 { #expect(bytes.prefix(count).withUnsafeBytes { TCPInfo($0) } == nil) }
        #expect(bytes.prefix(104).withUnsafeBytes { TCPInfo($0) } != nil)
        try expect(\.bytesAcknowledged, endsAt: 128)
        try expect(\.bytesReceived, endsAt: 136)
        try expect(\.segmentsSent, endsAt: 140)
        try expect(\.segmentsReceived, endsAt: 144)
        try expect(\.notSentBytes, endsAt: 148)
        try expect(\.minimumRoundTripTime, endsAt: 152)
        try expect(\.deliveryRate, endsAt: 168)
        try expect(\.busyTime, endsAt: 176)
        try expect(\.receiveWindowLimitedTime, endsAt: 184)
        try expect(\.sendBufferLimitedTime, endsAt: 192)
        try expect(\.bytesSent, endsAt: 208)
        try expect(\.bytesRetransmitted, endsAt: 216)
        try expect(\.sendWindow, endsAt: 232)
    }
}
