import Testing

@testable import Transport

@Suite("listen address")
struct ListenAddressTests {
    @Test(
        "numeric addresses and Unix-domain paths need no look-up",
        arguments: [
            ("127.0.0.1:7000", SocketAddress.ipv4(0x7F00_0001, port: 7000)),
            ("0.0.0.0:80", .ipv4(0, port: 80)),
            ("127.0.0.1:0", .ipv4(0x7F00_0001, port: 0)),
            ("[::1]:65535", .ipv6(high: 0, low: 1, port: 65535, scope: 0)),
            ("[::]:80", .ipv6(high: 0, low: 0, port: 80, scope: 0)),
            ("[::ffff:1.2.3.4]:80", .ipv6(high: 0, low: 0xFFFF_0102_0304, port: 80, scope: 0)),
            ("unix:/run/a.sock", .unix(path: "/run/a.sock")),
            ("unix:/run/a:b", .unix(path: "/run/a:b")),
        ])
    func numeric(text: String, address: SocketAddress) throws {
        let parsed = try ListenAddress(parsing: text)
        #expect(parsed == .address(address))
        #expect(try parsed.resolve() == [address])
        #expect(try ListenAddress(parsing: parsed.description) == parsed, "the description is read back")
    }

    @Test(
        "host names are kept for the resolver",
        arguments: [
            ("localhost:0", "localhost", UInt16(0)), ("redis.default.svc:6379", "redis.default.svc", 6379),
            ("a-b_c.example.:1", "a-b_c.example.", 1), ("1a:80", "1a", 80), ("ff:80", "ff", 80),
        ])
    func names(text: String, host: String, port: UInt16) throws {
        let parsed = try ListenAddress(parsing: text)
        #expect(parsed == .name(host: host, port: port))
        #expect(parsed.description == text)
    }

    @Test(
        "what is wrong with an address is told apart",
        arguments: [
            ("", AddressSyntaxError.Reason.empty),
            ("127.0.0.1", .portMissing), ("localhost", .portMissing), ("localhost:", .portMissing),
            ("7000", .portMissing), ("[::1]", .portMissing), ("[::1]:", .portMissing),
            ("localhost:http", .portInvalid("http")), ("localhost:65536", .portInvalid("65536")),
            ("localhost:-1", .portInvalid("-1")), ("localhost:+1", .portInvalid("+1")),
            ("localhost: 80", .portInvalid(" 80")), ("[::1]:99999", .portInvalid("99999")),
            (":80", .hostMissing), ("*:80", .wildcard), ("tcp://1.2.3.4:80", .scheme("tcp")),
            ("http://localhost", .scheme("http")), ("::1:80", .bracketsMissing), ("::", .bracketsMissing),
            ("a:b:80", .bracketsMissing), ("[::1:80", .bracketsUnbalanced), ("[::1]80", .bracketsUnbalanced),
            ("[]:80", .ipv6Invalid("")), ("[localhost]:80", .ipv6Invalid("localhost")),
            ("[127.0.0.1]:80", .ipv6Invalid("127.0.0.1")), ("[::g]:80", .ipv6Invalid("::g")),
            ("[::1\0x]:80", .ipv6Invalid("::1\0x")),
            ("1.2.3:80", .ipv4Invalid("1.2.3")), ("1.2.3.256:80", .ipv4Invalid("1.2.3.256")),
            ("127:80", .ipv4Invalid("127")), ("1.2.3.4.5:80", .ipv4Invalid("1.2.3.4.5")),
            ("a b:80", .hostInvalid("a b")), ("-a:80", .hostInvalid("-a")), ("bücher:80", .hostInvalid("bücher")),
            (".a:80", .hostInvalid(".a")), ("a/b:80", .hostInvalid("a/b")),
            ("unix:", .pathMissing), ("unix:a.sock", .pathRelative), ("unix:./a", .pathRelative),
            ("unix:@a", .pathRelative), ("unix:/a\0b", .pathHasZero),
        ])
    func refusals(text: String, reason: AddressSyntaxError.Reason) {
        let error = #expect(throws: AddressSyntaxError.self) { try ListenAddress(parsing: text) }
        #expect(error?.reason == reason)
        #expect(error?.text == text)
    }

    @Test("the longest path and the longest name are taken, and one byte more is refused")
    func lengths() throws {
        let path = "/" + String(repeating: "é", count: 53)
        #expect(try ListenAddress(parsing: "unix:" + path) == .address(.unix(path: path)))
        let tooLong = #expect(throws: AddressSyntaxError.self) { try ListenAddress(parsing: "unix:\(path)a") }
        #expect(tooLong?.reason == .pathTooLong(108))
        let name = String(repeating: "a", count: 253)
        #expect(try ListenAddress(parsing: name + ":1") == .name(host: name, port: 1))
        let longName = #expect(throws: AddressSyntaxError.self) { try ListenAddress(parsing: "a\(name):1") }
        #expect(longName?.reason == .hostInvalid("a" + name))
    }

    @Test("a refusal names the address and what to write instead, on one line")
    func refusalText() {
        let error = #expect(throws: AddressSyntaxError.self) { try ListenAddress(parsing: "::1:80") }
        #expect(
            error?.description == "bad address '::1:80': there is more than one colon; "
                + "write an IPv6 address in brackets, such as [::1]:6379")
        let long = #expect(throws: AddressSyntaxError.self) {
            try ListenAddress(parsing: "unix:/" + String(repeating: "a", count: 119))
        }
        #expect(long?.description.contains("the path has 120 bytes and the kernel takes 107") == true)
    }

    @Test("localhost resolves to loopback addresses with the port asked for")
    func localhost() throws {
        let addresses = try ListenAddress(parsing: "localhost:7000").resolve()
        let loopback: Set<SocketAddress> = [
            .ipv4(0x7F00_0001, port: 7000), .ipv6(high: 0, low: 1, port: 7000, scope: 0),
        ]
        #expect(!addresses.isEmpty && Set(addresses).isSubset(of: loopback))
        #expect(Set(addresses).count == addresses.count, "each address once")
    }

    @Test("a name without an address is an error with the resolver's text")
    func noSuchName() throws {
        // RFC 6761, 6.4: "invalid" never resolves.
        let address = try ListenAddress(parsing: "nowhere.invalid:1")
        let error = #expect(throws: HostLookupError.self) { try address.resolve() }
        guard case .failed("nowhere.invalid", let code, let text) = error else {
            Issue.record("another error: \(String(describing: error))")
            return
        }
        #expect(code != 0 && !text.isEmpty)
        #expect(error?.description == "cannot resolve 'nowhere.invalid': \(text)")
    }
}
