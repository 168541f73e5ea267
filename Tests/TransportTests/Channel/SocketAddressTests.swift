import Glibc
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Socket address")
struct SocketAddressTests {
    static let addresses: [(SocketAddress, Int32, String)] = [
        (.ipv4(0, port: 0), AF_INET, "0.0.0.0:0"),
        (.ipv4(0x7f00_0001, port: 80), AF_INET, "127.0.0.1:80"),
        (.ipv4(.max, port: .max), AF_INET, "255.255.255.255:65535"),
        (.ipv6(high: 0, low: 0, port: 0, scope: 0), AF_INET6, "[::]:0"),
        (.ipv6(high: 0, low: 1, port: 443, scope: 0), AF_INET6, "[::1]:443"),
        (.ipv6(high: 0x2001_0db8_0000_0000, low: 0x1234, port: 1, scope: 0), AF_INET6, "[2001:db8::1234]:1"),
        (.ipv6(high: 0, low: 0xffff_7f00_0001, port: 7, scope: 0), AF_INET6, "[::ffff:127.0.0.1]:7"),
        (.unix(path: "/run/a.sock"), AF_UNIX, "unix:/run/a.sock"),
        (.unix(path: "relative"), AF_UNIX, "unix:relative"),
        (.unix(path: "@abstract name"), AF_UNIX, "unix:@abstract name"),
        (.unix(path: ""), AF_UNIX, "unix:"),
        (.unix(path: "/" + String(repeating: "p", count: 106)), AF_UNIX, "unix:/" + String(repeating: "p", count: 106)),
    ]

    @Test("an address survives the kernel's form, and says what it is", arguments: addresses)
    func roundTrip(address: SocketAddress, family: Int32, description: String) {
        #expect(address.family == family)
        #expect(address.description == description)
        let (kernelFamily, copy) = address.withSockaddr { pointer, length in
            (Int32(pointer.pointee.sa_family), SocketAddress(pointer, length: length))
        }
        #expect(kernelFamily == family && copy == address)
    }

    @Test("a link-local address keeps its scope")
    func scope() throws {
        let address = SocketAddress.ipv6(high: 0xfe80_0000_0000_0000, low: 1, port: 9, scope: 1)
        #expect(address.withSockaddr { SocketAddress($0, length: $1) } == address)
        #expect(SocketAddress(numericHost: "fe80::1%lo", port: 9) == address)
        #expect(address.host == "fe80::1%lo")
    }

    @Test("a kernel address that is cut short, or of another family, is refused")
    func malformed() {
        for (address, _, _) in Self.addresses where address.port != nil {
            address.withSockaddr { pointer, length in
                for short in 0..<length { #expect(SocketAddress(pointer, length: short) == nil) }
            }
        }
        var netlink = sockaddr()
        netlink.sa_family = sa_family_t(AF_NETLINK)
        #expect(SocketAddress(&netlink, length: socklen_t(MemoryLayout<sockaddr>.size)) == nil)
    }

    @Test("only numbers are numeric hosts")
    func numericHosts() {
        #expect(SocketAddress(numericHost: "127.0.0.1", port: 5) == .ipv4(0x7f00_0001, port: 5))
        #expect(SocketAddress(numericHost: "::1", port: 6) == .ipv6(high: 0, low: 1, port: 6, scope: 0))
        for host in ["localhost", "", "127.0.0.1:80", "[::1]", "256.0.0.1", "/run/a.sock"] {
            #expect(SocketAddress(numericHost: host, port: 1) == nil, "\(host)")
        }
    }

    @Test("the port changes alone, and only where there is one")
    func withPort() {
        #expect(SocketAddress.ipv4(9, port: 1).withPort(2) == .ipv4(9, port: 2))
        #expect(
            SocketAddress.ipv6(high: 1, low: 2, port: 3, scope: 4).withPort(5)
                == .ipv6(high: 1, low: 2, port: 5, scope: 4))
        #expect(SocketAddress.unix(path: "/x").withPort(5) == .unix(path: "/x"))
        #expect(SocketAddress.unix(path: "/x").port == nil)
    }

    @Test(
        "the kernel binds and reports each family",
        arguments: AddressFamily.allCases.map(\.address) + [.unix(path: "@ringmaster-\(getpid())")])
    func bound(address: SocketAddress) throws {
        let fd = try Socket.listen(address, backlog: 1)
        defer { close(fd) }
        let bound = try #require(Socket.localAddress(of: fd))
        if let port = bound.port {
            #expect(port > 0 && bound.withPort(0) == address)
        } else {
            #expect(bound == address)
        }
        if case .unix(let path) = address { unlink(path) }
    }
}
