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
