import Glibc
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Socket.listen")
struct SocketListenTests {
    /// Listens, and closes the socket after `body`.
    @discardableResult
    private func listening<Value>(
        _ address: SocketAddress, _ configuration: ListenerConfiguration = .init(),
        _ body: (Int32, SocketAddress) throws -> Value
    ) throws -> Value {
        let fd = try Socket.listen(address, configuration)
        defer {
            close(fd)
            if case .unix(let path) = address { unlink(path) }
        }
        return try body(fd, try #require(Socket.localAddress(of: fd)))
    }

    @Test("a second listener on a port is EADDRINUSE unless both say that they share it (netty 69)")
    func portInUse() throws {
        let share = ListenerConfiguration.with { $0.reusePort = true }
        let alone = ListenerConfiguration()
        for (first, second) in [(alone, alone), (share, alone), (alone, share)] {
            try listening(.anyLoopback, first) { _, address throws in
                #expect(throws: SystemError("bind", code: EADDRINUSE)) { try listening(address, second) { _, _ in } }
            }
        }
        try listening(.anyLoopback, share) { _, address throws in
            #expect(try listening(address, share) { _, second in second } == address)
        }
    }

    @Test(
        "an address that is not there is EADDRNOTAVAIL, and bound by who asks for it",
        arguments: [
            SocketAddress.ipv4(0xc000_0201, port: 0),
            SocketAddress.ipv6(high: 0x2001_0db8_0000_0000, low: 1, port: 0, scope: 0),
        ])
    func freeBind(address: SocketAddress) throws {
        #expect(throws: SystemError("bind", code: EADDRNOTAVAIL)) { try listening(address) { _, _ in } }
        try listening(address, .with { $0.freeBind = true }) { _, bound in #expect(bound.withPort(0) == address) }
        do {
            try listening(address, .with { $0.transparent = true }) { _, bound in #expect(bound.withPort(0) == address)
            }
        } catch {
            #expect(error as? SystemError == SystemError("setsockopt(IP_TRANSPARENT)", code: EPERM))
        }
    }

    @Test("all of IPv6 leaves IPv4 to others when it says so, and only then")
    func v6Only() throws {
        let any6 = SocketAddress.ipv6(high: 0, low: 0, port: 0, scope: 0)
        let any4 = SocketAddress.ipv4(0, port: 0)
        // Another test may have the port on IPv4, but not every one of these.
        let isLeft = try (0..<20).contains { _ in
            try listening(any6, .with { $0.v6Only = true }) { _, bound throws in
                let same = any4.withPort(try #require(bound.port))
                return (try? listening(same, .with { $0.v6Only = true }) { _, _ in true }) ?? false
            }
        }
        #expect(isLeft)
        try listening(any6, .with { $0.v6Only = false }) { _, bound in
            let same = any4.withPort(try #require(bound.port))
            #expect(throws: SystemError("bind", code: EADDRINUSE)) { try Socket.listen(same, .init()) }
        }
    }

    @Test("the options are set, on IPv4 and IPv6")
    func options() throws {
        for address in [SocketAddress.anyLoopback, .anyLoopbackV6] {
            let tuned = ListenerConfiguration.with {
                $0.fastOpenQueueLength = 17
                $0.deferAccept = .seconds(1)
                $0.options = [.init(.receiveBufferSize, 20000), .init(.keepAlive, true)]
            }
            try listening(address, tuned) { fd, _ throws in
                #expect(try Socket.get(.fastOpen, of: fd) == 17)
                #expect(try Socket.get(.deferAccept, of: fd) >= .seconds(1))
                #expect(try Socket.get(.receiveBufferSize, of: fd) == 40000)
                #expect(try Socket.get(.keepAlive, of: fd))
                #expect(try Socket.get(.reuseAddress, of: fd))
            }
            try listening(address, .with { $0.reuseAddress = false }) { fd, _ throws in
                #expect(try Socket.get(.reuseAddress, of: fd) == false)
            }
        }
    }

    @Test("what concerns TCP is left alone on a Unix-domain socket")
    func unixIgnores() throws {
        let tuned = ListenerConfiguration.with {
            $0.fastOpenQueueLength = 17
            $0.deferAccept = .seconds(1)
            $0.freeBind = true
            $0.v6Only = true
            $0.reusePort = true
        }
        try listening(.temporaryUnix(), tuned) { fd, _ throws in
            #expect(try Socket.get(.reuseAddress, of: fd) == false)
        }
    }

    @Test("an option that fails is told by name, and leaves no socket behind")
    func failingOption() async {
        // In a process where nobody else takes descriptors.
        await #expect(processExitsWith: .success) {
            var configuration = ListenerConfiguration()
            configuration.options = [.init(.congestionControl, "no-such")]
            let before = try Socket.stream(AF_INET)
            close(before)
            for _ in 0..<10 {
                #expect(throws: SystemError("setsockopt(TCP_CONGESTION)", code: ENOENT)) {
                    try Socket.listen(.anyLoopback, configuration)
                }
            }
            let after = try Socket.stream(AF_INET)
            // libdispatch takes a few of its own.
            #expect(after < before + 10)
        }
    }

    @Test("a Unix-domain path of 107 bytes is bound, a longer one refused as too long (netty 64)")
    func longPath() throws {
        let folder = "/tmp/ringmaster-\(getpid())-"
        let longest = folder + String(repeating: "x", count: SocketAddress.unixPathLengthMax - folder.utf8.count)
        try listening(.unix(path: longest)) { _, bound in #expect(bound == .unix(path: longest)) }
        let error = #expect(throws: SystemError("bind", code: ENAMETOOLONG)) {
            try Socket.listen(.unix(path: longest + "x"), .init())
        }
        #expect(error.map { "\($0)" }?.contains("too long") == true)
    }

    @Test("a Unix-domain path that is empty or has a zero byte is refused", arguments: ["", "/tmp/a\0b", "\0a"])
    func badPath(path: String) {
        #expect(throws: SystemError("bind", code: EINVAL)) { try Socket.listen(.unix(path: path), .init()) }
    }
}

extension ListenerConfiguration {
    /// The defaults, changed.
    fileprivate static func with(_ change: (inout Self) -> Void) -> Self {
        var configuration = Self()
        change(&configuration)
        return configuration
    }
}
