import Testing
import Transport

@testable import Services

private let v4 = SocketAddress.ipv4(0xC0A8_0001, port: 56324)
private let v4b = SocketAddress.ipv4(0x0A00_0007, port: 443)
private let v6 = SocketAddress.ipv6(high: 0x2001_0DB8_0000_0000, low: 1, port: 56324, scope: 7)
private let v6b = SocketAddress.ipv6(high: 0x2001_0DB8_0000_0000, low: 2, port: 443, scope: 0)
private let unix = SocketAddress.unix(path: "/run/a.sock")

@Suite("PROXY protocol encoder")
struct ProxyHeaderEncoderTests {
    private func line(_ header: ProxyHeader) -> String {
        String(decoding: header.encoded(.v1), as: UTF8.self)
    }

    @Test("version 1 writes TCP4, TCP6 and UNKNOWN lines as the specification shows them")
    func lines() {
        #expect(
            line(.proxied(source: v4, destination: v4b)) == "PROXY TCP4 192.168.0.1 10.0.0.7 56324 443\r\n")
        #expect(
            line(.proxied(source: v6, destination: v6b)) == "PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n",
            "the scope of an address is not sent")
        #expect(line(.unknown) == "PROXY UNKNOWN\r\n")
        #expect(line(.local) == "PROXY UNKNOWN\r\n")
        #expect(line(.proxied(source: unix, destination: unix)) == "PROXY UNKNOWN\r\n")
    }

    @Test("addresses of two families meet in IPv6, the IPv4 one mapped")
    func mixedFamilies() {
        #expect(
            line(.proxied(source: v4, destination: v6b))
                == "PROXY TCP6 ::ffff:192.168.0.1 2001:db8::2 56324 443\r\n")
        #expect(
            line(.proxied(source: v6, destination: v4b))
                == "PROXY TCP6 2001:db8::1 ::ffff:10.0.0.7 56324 443\r\n")
        let block = ProxyHeader.proxied(source: v4, destination: v6b).encoded(.v2)
        #expect(block[13] == 0x21)
        #expect(Array(block[16..<32]) == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 192, 168, 0, 1])
    }

    @Test("a Unix-domain address beside an IP address is sent as unknown in both versions")
    func unixBesideIP() {
        for header in [
            ProxyHeader.proxied(source: unix, destination: v4), .proxied(source: v6, destination: unix),
        ] {
            #expect(line(header) == "PROXY UNKNOWN\r\n")
            #expect(header.encoded(.v2) == ProxyHeader.unknown.encoded(.v2))
        }
    }

    @Test("the longest version 1 line stays within 107 bytes")
    func longestLine() {
        let longest = SocketAddress.ipv6(high: .max, low: .max, port: .max, scope: 0)
        #expect(ProxyHeader.proxied(source: longest, destination: longest).encoded(.v1).count == 104)
    }

    @Test("version 2 writes signature, command, family, length and addresses in network order")
    func blocks() {
        let signature: [UInt8] = [0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A]
        #expect(ProxyHeader.local.encoded(.v2) == signature + [0x20, 0x00, 0, 0])
        #expect(ProxyHeader.unknown.encoded(.v2) == signature + [0x21, 0x00, 0, 0])
        #expect(
            ProxyHeader.proxied(source: v4, destination: v4b).encoded(.v2)
                == signature + [0x21, 0x11, 0, 12, 192, 168, 0, 1, 10, 0, 0, 7, 0xDC, 0x04, 0x01, 0xBB])
        let prefix: [UInt8] = [0x20, 0x01, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        #expect(
            ProxyHeader.proxied(source: v6, destination: v6b).encoded(.v2)
                == signature + [0x21, 0x21, 0, 36] + prefix + [1] + prefix + [2] + [0xDC, 0x04, 0x01, 0xBB])
    }

    @Test("version 2 pads Unix-domain paths to 108 bytes and writes an abstract name with its leading zero")
    func unixBlock() {
        let block = ProxyHeader.proxied(source: unix, destination: .unix(path: "@name")).encoded(.v2)
        #expect(block.count == 16 + 216)
        #expect(Array(block[12..<16]) == [0x21, 0x31, 0, 216])
        #expect(Array(block[16..<28]) == Array("/run/a.sock".utf8) + [0])
        #expect(Array(block[124..<130]) == [0] + Array("name".utf8) + [0])
        #expect(block[28..<124].allSatisfy { $0 == 0 } && block[130...].allSatisfy { $0 == 0 })
    }
}
