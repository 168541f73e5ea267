import Testing

@testable import Transport
@testable import TransportTesting

/// Says which modes the other tests run in, and for each that is missing why.
@Suite("Transport modes")
struct ModeTests {
    @Test("io_uring", .needsRing)
    func uring() throws { try expectEcho(TransportMode.uring) }

    @Test("epoll, which can be had everywhere (netty 68)")
    func epoll() throws { try expectEcho(TransportMode.epoll) }

    @Test(
        "io_uring with incremental receive buffers",
        .enabled(if: TransportMode.incremental.obstacle == nil, "\(TransportMode.incremental.obstacle ?? "")"))
    func incremental() throws { try expectEcho(.incremental) }

    private func expectEcho(_ mode: TransportMode) throws {
        #expect(TransportMode.available.contains(mode))
        let server = try TestServer(mode, setUp: RecordingConnection.echo)
        let peer = try Peer(connectingTo: server.address)
        try peer.send("hello")
        #expect(try peer.receive(exactly: 5) == Array("hello".utf8))
        try server.join()
    }
}
