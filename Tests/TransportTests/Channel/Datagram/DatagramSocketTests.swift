import Glibc
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Datagrams: sockets")
struct DatagramSocketTests {
    @Test("an address in use is refused; with SO_REUSEPORT by all, several share it (netty 65)")
    func reusePort() throws {
        let first = try Socket.datagram(boundTo: .anyLoopback, reusePort: true)
        defer { close(first) }
        let address = try #require(Socket.localAddress(of: first))
        #expect(throws: SystemError("bind", code: EADDRINUSE)) { try Socket.datagram(boundTo: address) }
        let second = try Socket.datagram(boundTo: address, reusePort: true)
        close(second)
    }
}
