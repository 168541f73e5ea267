import Testing
import Transport

@testable import IntegrationTesting

extension Integration {
    @Suite(.serialized)
    struct TransferTests {
        /// 64 MiB go through a proxy to an echo and back, on one connection that each side finishes in its turn.
        private func transfer(proxyListens listen: String) throws {
            let echo = try Ringmaster("echo", "--listen", "127.0.0.1:0", "--workers", "1")
            defer { echo.kill() }
            let proxy = try Ringmaster(
                "proxy", "--listen", listen, "--upstream", "\(echo.address)", "--workers", "2")
            defer { proxy.kill() }
            let client = try proxy.connect()
            try Integration.randomBytes.withUnsafeBytes { bytes in
                let (matching, received) = try client.exchange(bytes, expecting: bytes)
                #expect(matching == bytes.count)
                #expect(received == bytes.count)
            }
        }

        @Test("64 MiB of random bytes each way arrive as sent, and the half-close after them, over IPv4")
        func ipv4() throws { try transfer(proxyListens: "127.0.0.1:0") }

        @Test("64 MiB of random bytes each way arrive as sent, and the half-close after them, over IPv6")
        func ipv6() throws { try transfer(proxyListens: "[::1]:0") }

        @Test(
            "64 MiB of random bytes each way arrive as sent, and the half-close after them, over a Unix-domain socket")
        func unix() throws {
            let directory = try TemporaryDirectory()
            try transfer(proxyListens: "unix:\(directory.path("proxy.sock"))")
        }

        @Test("a listener on a port of its own choice says which port it took, and several listeners serve at once")
        func severalListeners() throws {
            let directory = try TemporaryDirectory()
            let path = directory.path("echo.sock")
            let echo = try Ringmaster(
                "echo", "--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0", "--listen", "unix:\(path)",
                "--workers", "2")
            defer { echo.kill() }
            #expect(echo.addresses.count == 3)
            #expect(Set(echo.addresses).count == 3)
            #expect(echo.addresses.last == .unix(path: path))
            for address in echo.addresses {
                #expect(address.port != 0)
                #expect(try Client(to: address).echoes("through \(address)"))
            }
        }
    }
}
