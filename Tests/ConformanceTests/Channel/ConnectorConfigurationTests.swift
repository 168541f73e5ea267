import Glibc
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Connector configuration")
struct ConnectorConfigurationTests {
    /// Connects from the thread's loop and waits for the outcome.
    private func connect(
        _ thread: LoopThread, _ address: SocketAddress,
        _ change: @Sendable (inout ConnectorConfiguration) -> Void = { _ in }
    ) throws -> Result<ConnectedSocket, ConnectError> {
        var configuration = ConnectorConfiguration()
        change(&configuration)
        let outcomes = Recorder<Result<ConnectedSocket, ConnectError>>()
        try thread.on { [configuration] loop in
            _ = Connector.connect(loop, to: address, configuration) { outcomes.record($0) }
            #expect(outcomes.all.isEmpty, "called from within connect()")
        }
        return try outcomes.next()
    }

    /// A plain listening socket, closed when it goes.
    private final class Listening {
        let fd: Int32
        let address: SocketAddress

        init(_ address: SocketAddress = .anyLoopback) throws {
            fd = try Socket.listen(address, backlog: 1024)
            self.address = try #require(Socket.localAddress(of: fd))
        }

        deinit {
            close(fd)
            if case .unix(let path) = address { unlink(path) }
        }

        /// Accepts a client, and tells its address.
        func acceptedFrom() throws -> SocketAddress {
            let accepted = try SystemError.check(accept(fd, nil, nil), "accept")
            defer { close(accepted) }
            return try #require(Socket.peerAddress(of: accepted))
        }
    }

    @Test(
        "connects from the local address that was asked for, the kernel choosing the port",
        arguments: TransportMode.available)
    func localAddress(mode: TransportMode) throws {
        let listening = try Listening()
        let thread = try LoopThread(mode)
        let local = SocketAddress.ipv4(0x7f00_0002, port: 0)
        let socket = try connect(thread, listening.address) { $0.localAddress = local }.get()
        let client = Peer(fd: socket.fd)
        #expect(try Socket.get(.bindAddressNoPort, of: client.fd))
        let peer = try listening.acceptedFrom()
        #expect(peer.withPort(0) == local && peer.port != 0)
        #expect(Socket.localAddress(of: client.fd) == peer)
        try thread.join()
    }

    @Test("connects from the local port that was asked for", arguments: TransportMode.available)
    func localPort(mode: TransportMode) throws {
        let listening = try Listening()
        let thread = try LoopThread(mode)
        // A port that was free a moment ago, on an address that no other test uses.
        let probe = try Socket.listen(.ipv4(0x7f00_0003, port: 0), backlog: 1)
        let local = try #require(Socket.localAddress(of: probe))
        close(probe)
        let socket = try connect(thread, listening.address) { $0.localAddress = local }.get()
        let client = Peer(fd: socket.fd)
        #expect(Socket.localAddress(of: client.fd) == local)
        #expect(try listening.acceptedFrom() == local)
        try thread.join()
    }

    @Test("a Unix-domain client with a path of its own is seen by it", arguments: TransportMode.available)
    func localPath(mode: TransportMode) throws {
        let listening = try Listening(.temporaryUnix())
        let thread = try LoopThread(mode)
        let local = SocketAddress.unix(path: "@ringmaster-connector-\(getpid())-\(mode)")
        let socket = try connect(thread, listening.address) { $0.localAddress = local }.get()
        let client = Peer(fd: socket.fd)
        #expect(try listening.acceptedFrom() == local)
        withExtendedLifetime(client) {}
        try thread.join()
    }

    @Test(
        "a local address that cannot be had fails with bind's reason, from the loop", arguments: TransportMode.available
    )
    func localAddressFails(mode: TransportMode) throws {
        let listening = try Listening()
        let thread = try LoopThread(mode)
        let taken = try connect(thread, listening.address) { [local = listening.address] in $0.localAddress = local }
        #expect(taken == .failure(.failed(SystemError("bind", code: EADDRINUSE))))
        let absent = try connect(thread, listening.address) { $0.localAddress = .ipv4(0xc000_0201, port: 0) }
        #expect(absent == .failure(.failed(SystemError("bind", code: EADDRNOTAVAIL))))
        #expect(try thread.on { $0.channelCount } == 0)
        try thread.join()
    }

    @Test("options are set before connecting, over the default of TCP_NODELAY", arguments: TransportMode.available)
    func options(mode: TransportMode) throws {
        let listening = try Listening()
        let thread = try LoopThread(mode)
        let plain = Peer(fd: try connect(thread, listening.address).get().fd)
        #expect(try Socket.get(.noDelay, of: plain.fd))
        let tuned = Peer(
            fd: try connect(thread, listening.address) {
                $0.options = [
                    .init(.noDelay, false), .init(.receiveBufferSize, 30000), .init(.userTimeout, .seconds(9)),
                ]
            }.get().fd)
        #expect(try Socket.get(.noDelay, of: tuned.fd) == false)
        #expect(try Socket.get(.receiveBufferSize, of: tuned.fd) == 60000)
        #expect(try Socket.get(.userTimeout, of: tuned.fd) == .seconds(9))
        try thread.join()
    }

    @Test("an option that fails ends the attempt, and the error names it", arguments: TransportMode.available)
    func failingOption(mode: TransportMode) throws {
        let listening = try Listening()
        let thread = try LoopThread(mode)
        let outcome = try connect(thread, listening.address) { $0.options = [.init(.congestionControl, "no-such")] }
        #expect(outcome == .failure(.failed(SystemError("setsockopt(TCP_CONGESTION)", code: ENOENT))))
        try thread.join()
    }

    @Test(
        "a path that is too long or has a zero byte is an error, not a crash (netty 64)",
        arguments: TransportMode.available)
    func badPath(mode: TransportMode) throws {
        let thread = try LoopThread(mode)
        let long = SocketAddress.unix(path: "/tmp/" + String(repeating: "x", count: 103))
        #expect(try connect(thread, long) == .failure(.failed(SystemError("connect", code: ENAMETOOLONG))))
        let zero = SocketAddress.unix(path: "/tmp/a\0b")
        #expect(try connect(thread, zero) == .failure(.failed(SystemError("connect", code: EINVAL))))
        try thread.join()
    }

    @Test(
        "refused over and over with the same descriptor, each attempt is told so (netty 70)",
        arguments: TransportMode.available)
    func descriptorReused(mode: TransportMode) throws {
        let thread = try LoopThread(mode)
        // Bound and not listening: nobody else can listen there meanwhile.
        let fd = try Socket.stream(AF_INET)
        defer { close(fd) }
        try Socket.bind(fd, to: .anyLoopback)
        let address = try #require(Socket.localAddress(of: fd))
        for _ in 0..<200 {
            let outcome = try connect(thread, address)
            try #require(outcome == .failure(.failed(SystemError("connect", code: ECONNREFUSED))))
        }
        try #require(Glibc.listen(fd, 1) == 0)
        close(try connect(thread, address).get().fd)
        try thread.join()
    }
}
