import Glibc
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Peer credentials")
struct PeerCredentialsTests {
    @Test("a Unix-domain peer's process, user and group are known", arguments: TransportMode.available)
    func unix(mode: TransportMode) throws {
        let server = try TestServer(mode, .temporaryUnix())
        let peer = try Peer(connectingTo: server.address)
        let own = PeerCredentials(processID: getpid(), userID: geteuid(), groupID: getegid())
        #expect(try server.first { $0.peerCredentials } == own)
        #expect(Socket.peerCredentials(of: peer.fd) == own)
        try server.join()
    }

    @Test(
        "other sockets have none, although the kernel answers for them",
        arguments: across(TransportMode.available, [AddressFamily.ipv4, .ipv6]))
    func others(mode: TransportMode, family: AddressFamily) throws {
        let server = try TestServer(mode, family.address)
        let peer = try Peer(connectingTo: server.address)
        #expect(try server.first { $0.peerCredentials } == nil)
        #expect(Socket.peerCredentials(of: peer.fd) == nil && Socket.peerCredentials(of: -1) == nil)
        try server.join()
    }
}
