import Foundation
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Connection: echo")
struct ConnectionEchoTests {
    @Test(
        "what is sent comes back, and FIN is answered by FIN",
        arguments: TransportMode.available, AddressFamily.allCases)
    func echo(mode: TransportMode, family: AddressFamily) throws {
        let server = try TestServer(mode, family.address, setUp: RecordingConnection.echo)
        let peer = try Peer(connectingTo: server.address)
        try peer.send("hello")
        #expect(try peer.receive(exactly: 5) == Array("hello".utf8))
        peer.finishOutput()
        #expect(try peer.receiveToEnd() == [])
        try server.recorder.wait { $0.contains(.closed(.finished)) }
        try server.join()
    }

    @Test(
        "over a Unix-domain path bytes come back, and each side knows the path (netty 63)",
        arguments: TransportMode.available, TransportMode.available)
    func unixPath(serverMode: TransportMode, mode: TransportMode) throws {
        let server = try TestServer(serverMode, .temporaryUnix(), setUp: RecordingConnection.echo)
        let address = server.address
        let client = try TestClient(mode, connectingTo: address) { $0.write("hello") }
        #expect(try client.recorder.waitForBytes(5) == Array("hello".utf8))
        #expect(try client.on { $0.peerAddress } == address)
        #expect(try server.first { $0.localAddress } == address)
        // The client has no name of its own.
        #expect(try client.on { $0.localAddress } == .unix(path: ""))
        #expect(try server.first { $0.peerAddress } == .unix(path: ""))
        try client.join()
        try server.join()
    }

    @Test("1 MiB in random pieces comes back byte-exact (netty 54)", arguments: TransportMode.available)
    func randomPieces(mode: TransportMode) throws {
        let server = try TestServer(mode, setUp: RecordingConnection.echo)
        let peer = try Peer(connectingTo: server.address)
        let data = pattern(1 << 20)
        Thread.detachNewThread {
            var rest = data[...]
            while !rest.isEmpty {
                let count = min(rest.count, Int.random(in: 1...40_000))
                try? peer.send(Array(rest.prefix(count)))
                rest = rest.dropFirst(count)
            }
            peer.finishOutput()
        }
        #expect(try peer.receiveToEnd() == data)
        try server.join()
    }
}
