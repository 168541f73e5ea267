import Foundation
import NIOCore
import NIOPosix
import Testing

@testable import RingmasterNIO
@testable import Transport
@testable import TransportTesting

@Suite("Client bootstraps")
struct ClientBootstrapTests {
    /// A listener whose queue is full: who connects to it waits.
    private final class FullListener: Sendable {
        let plain: PlainListener
        private let others: [Int32]

        init() throws {
            plain = try PlainListener(.anyLoopback, backlog: 0)
            let address = CoreAddress(plain.address)
            others = try (0..<4).map { _ in
                let fd = try Socket.stream(AF_INET)
                _ = fcntl(fd, F_SETFL, O_NONBLOCK)
                _ = address.withSockaddr { Glibc.connect(fd, $0, $1) }
                return fd
            }
        }

        deinit { for fd in others { close(fd) } }
    }

    @Test("A connection that is refused fails with ECONNREFUSED", arguments: streamTransports)
    func refused(transport: TransportKind) async throws {
        try await withRingGroup(transport) { group async throws in
            // Bound and not listening.
            let fd = try Socket.stream(AF_INET)
            defer { close(fd) }
            try Socket.bind(fd, to: .anyLoopback)
            let address = NIOCore.SocketAddress(try #require(Socket.localAddress(of: fd)))
            let journal = Journal()
            let connected = RingClientBootstrap(group: group).channelInitializer { channel in
                channel.closeFuture.whenComplete { _ in journal.note("closed") }
                return channel.pipeline.addHandler(Spy(journal))
            }.connect(to: address)
            #expect((try await failure(connected) as? IOError)?.errnoCode == ECONNREFUSED)
            try await journal.wait(for: "closed")
            #expect(journal.events == ["registered", "unregistered", "removed", "closed"])
            let missing = RingClientBootstrap(group: group).connect(unixDomainSocketPath: temporaryPath())
            #expect((try await failure(missing) as? IOError)?.errnoCode == ENOENT)
        }
    }

    @Test("Nobody answering, it fails in time, by the bootstrap's timeout or the option's", arguments: streamTransports)
    func timeout(transport: TransportKind) async throws {
        let full = try FullListener()
        try await withRingGroup(transport) { group async throws in
            let connected = RingClientBootstrap(group: group).connectTimeout(.milliseconds(50)).connect(
                to: full.plain.address)
            #expect(try await failure(connected) as? ChannelError == .connectTimeout(.milliseconds(50)))
            let channel = RingStreamChannel(group.loops[0], fd: try Socket.stream(AF_INET))
            try await channel.setOption(.connectTimeout, value: .milliseconds(60)).get()
            try await channel.register().get()
            #expect(
                try await failure(channel.connect(to: full.plain.address)) as? ChannelError
                    == .connectTimeout(.milliseconds(60)))
            try await outcome(channel.closeFuture).get()
            let byName = RingClientBootstrap(group: group).connectTimeout(.milliseconds(70))
                .connect(host: "127.0.0.1", port: full.plain.address.port!)
            #expect(try await failure(byName) as? ChannelError == .connectTimeout(.milliseconds(70)))
        }
    }

    @Test(
        "When the time for a name is over, an attempt whose initializer still goes on is closed",
        arguments: streamTransports)
    func givenUp(transport: TransportKind) async throws {
        let plain = try PlainListener()
        try await withRingGroup(transport) { group async throws in
            let initialized = group.loops[0].makePromise(of: Void.self)
            defer { initialized.succeed(()) }
            // On a busy machine the time may be over before the name is looked up.
            for timeout in [TimeAmount.milliseconds(50), .milliseconds(500), .seconds(5)] {
                let journal = Journal()
                let byName = RingClientBootstrap(group: group).channelInitializer { channel in
                    journal.note("made")
                    channel.closeFuture.whenComplete { _ in journal.note("closed") }
                    return initialized.futureResult
                }.connectTimeout(timeout).connect(host: "127.0.0.1", port: plain.address.port!)
                #expect(try await failure(byName) as? ChannelError == .connectTimeout(timeout))
                if journal.has("made") { return try await journal.wait(for: "closed") }
            }
            Issue.record("no attempt began in time")
        }
    }

    @Test("Closed while connecting, the connect fails and the channel ends", arguments: streamTransports)
    func closedWhileConnecting(transport: TransportKind) async throws {
        let full = try FullListener()
        try await withRingGroup(transport) { group async throws in
            let journal = Journal()
            let channel = RingStreamChannel(group.loops[0], fd: try Socket.stream(AF_INET))
            let identity = try #require(FileIdentity(channel.descriptor))
            try await channel.pipeline.addHandler(Spy(journal)).get()
            try await channel.setOption(.connectTimeout, value: nil).get()
            #expect(try await channel.getOption(.connectTimeout).get() == nil)
            try await channel.register().get()
            let connected = group.loops[0].flatSubmit { channel.connect(to: full.plain.address) }
            for _ in 0..<3 { try await group.loops[0].submit {}.get() }
            let written = channel.sending(ByteBuffer(string: "x"))
            try await outcome(channel.close()).get()
            #expect(try await failure(connected) as? ChannelError == .ioOnClosedChannel)
            #expect(try await failure(written) as? ChannelError == .ioOnClosedChannel)
            try await outcome(channel.closeFuture).get()
            #expect(journal.events == ["registered", "unregistered", "removed"])
            #expect(!isOpenAnywhere(identity))
        }
    }

    @Test("A group may end while something connects", arguments: streamTransports)
    func groupEnds(transport: TransportKind) async throws {
        let full = try FullListener()
        let results = Journal()
        try await withRingGroup(transport) { group async throws in
            RingClientBootstrap(group: group).connect(to: full.plain.address).whenFailure { _ in results.note("address")
            }
            RingClientBootstrap(group: group).connect(host: "127.0.0.1", port: full.plain.address.port!)
                .whenFailure { _ in results.note("name") }
            for _ in 0..<20 { try await group.loops[0].submit {}.get() }
            try await Task.sleep(for: .milliseconds(20))
        }
        #expect(results.events.sorted() == ["address", "name"])
    }

    @Test("It connects from the address it is bound to", arguments: streamTransports)
    func localAddress(transport: TransportKind) async throws {
        try await withConnected(transport) {
            $0.bind(to: try! .init(ipAddress: "127.0.0.2", port: 0))
        } _: { it async throws in
            #expect(it.channel.localAddress?.ipAddress == "127.0.0.2")
            #expect(it.channel.localAddress?.port != 0)
            #expect(Socket.peerAddress(of: it.peer.fd).map(NIOCore.SocketAddress.init) == it.channel.localAddress)
            try await it.channel.close().get()
        }
    }

    @Test("An address that is not this machine's to connect from fails", arguments: streamTransports)
    func foreignLocalAddress(transport: TransportKind) async throws {
        try await withRingGroup(transport) { group async throws in
            let plain = try PlainListener()
            let connected = RingClientBootstrap(group: group).bind(to: try .init(ipAddress: "192.0.2.1", port: 0))
                .connect(to: plain.address)
            #expect((try await failure(connected) as? IOError)?.errnoCode == EADDRNOTAVAIL)
        }
    }

    @Test("It connects to Unix paths and by names, whichever address of them listens", arguments: streamTransports)
    func names(transport: TransportKind) async throws {
        let path = temporaryPath()
        defer { unlink(path) }
        try await withRingGroup(transport) { group async throws in
            let unix = try await RingServerBootstrap(group: group).bind(unixDomainSocketPath: path).get()
            let client = try await RingClientBootstrap(group: group).connect(unixDomainSocketPath: path).get()
            #expect(client.remoteAddress == unix.localAddress)
            let plain = try PlainListener()
            let port = plain.address.port!
            // localhost is ::1 first, where nobody listens.
            let named = try await RingClientBootstrap(group: group).connect(host: "localhost", port: port).get()
            #expect(named.remoteAddress?.ipAddress == "127.0.0.1")
            let six = try await RingServerBootstrap(group: group).bind(host: "::1", port: 0).get()
            let sixth = try await RingClientBootstrap(group: group).connect(host: "::1", port: six.localAddress!.port!)
                .get()
            #expect(sixth.remoteAddress?.protocol == .inet6)
            #expect(
                try await failure(RingClientBootstrap(group: group).connect(host: "does-not-exist.invalid", port: 80))
                    != nil)
            #expect(try await failure(RingClientBootstrap(group: group).connect(host: "localhost", port: -1)) != nil)
        }
    }

    @Test("A name none of whose addresses listens fails with what the kernel said", arguments: streamTransports)
    func nobodyAtName(transport: TransportKind) async throws {
        try await withRingGroup(transport) { group async throws in
            let fd = try Socket.stream(AF_INET)
            defer { close(fd) }
            try Socket.bind(fd, to: .anyLoopback)
            let port = Int(try #require(Socket.localAddress(of: fd)?.port))
            let connected = RingClientBootstrap(group: group).connect(host: "localhost", port: port)
            #expect((try await failure(connected) as? IOError)?.errnoCode == ECONNREFUSED)
        }
    }

    @Test("A connected socket is taken over", arguments: streamTransports)
    func connectedSocket(transport: TransportKind) async throws {
        try await withRingGroup(transport) { group async throws in
            let (left, right) = try tcpPair()
            // As other libraries leave it.
            _ = fcntl(right, F_SETFL, O_NONBLOCK)
            let peer = FarEnd(Peer(fd: left))
            let journal = Journal()
            try await peer.send("was there before")
            let channel = try await RingClientBootstrap(group: group).channelInitializer {
                $0.pipeline.addHandler(Spy(journal))
            }.withConnectedSocket(right).get()
            #expect(channel.isActive && channel.remoteAddress != nil && channel.parent == nil)
            try await journal.wait(forBytes: 16)
            try await channel.writeAndFlush(ByteBuffer(string: "x")).get()
            #expect(try await peer.receive(exactly: 1) == Array("x".utf8))
            #expect(journal.events.prefix(2) == ["registered", "active"])
            #expect(fcntl(right, F_GETFL) & O_NONBLOCK == 0)
            // A descriptor that is no socket ends at once.
            let nothing = open("/dev/null", O_RDONLY | O_CLOEXEC)
            if case .success(let broken) = try await outcome(
                RingClientBootstrap(group: group).withConnectedSocket(nothing))
            {
                try await outcome(broken.closeFuture).get()
            }
        }
    }

    @Test(
        "Options are set before the initializer is called, protocol handlers are in front of its own",
        arguments: streamTransports)
    func order(transport: TransportKind) async throws {
        final class First: ChannelInboundHandler, Sendable { typealias InboundIn = Any }
        try await withRingGroup(transport) { group async throws in
            let plain = try PlainListener()
            let channel = try await RingClientBootstrap(group: group).channelOption(.autoRead, value: false)
                .protocolHandlers { [First()] }
                .channelInitializer { channel in
                    #expect((try? channel.syncOptions?.getOption(.autoRead)) == false)
                    #expect((try? channel.syncOptions?.getOption(.tcpOption(.tcp_nodelay))) != 0)
                    return channel.pipeline.addHandler(Spy(Journal()), position: .first)
                }.connect(to: plain.address).get()
            let isFirst = try await channel.eventLoop.submit {
                channel.pipeline.debugDescription.range(of: "First")!.lowerBound
                    < channel.pipeline.debugDescription.range(of: "Spy")!.lowerBound
            }.get()
            #expect(isFirst)
        }
    }

    @Test("An initializer that fails makes the connect fail, and nothing is connected", arguments: streamTransports)
    func initializerFails(transport: TransportKind) async throws {
        struct Refused: Error {}
        try await withRingGroup(transport) { group async throws in
            let plain = try PlainListener()
            let connected = RingClientBootstrap(group: group).channelInitializer {
                $0.eventLoop.makeFailedFuture(Refused())
            }.connect(to: plain.address)
            #expect(try await failure(connected) is Refused)
        }
    }

    @Test("Groups of other event loops are turned away", arguments: streamTransports)
    func validates(transport: TransportKind) async throws {
        try await withRingGroup(transport) { group async throws in
            #expect(RingClientBootstrap(validatingGroup: group) != nil)
            #expect(RingClientBootstrap(validatingGroup: group.loops[0]) != nil)
            #expect(RingServerBootstrap(validatingGroup: group, childGroup: group.loops[0]) != nil)
            let other = MultiThreadedEventLoopGroup.singleton
            #expect(RingClientBootstrap(validatingGroup: other) == nil)
            #expect(RingServerBootstrap(validatingGroup: other) == nil)
            #expect(RingServerBootstrap(validatingGroup: group, childGroup: other) == nil)
            try await group.loops[0].submit {}.get()
        }
    }

    @Test("It is a universal bootstrap", arguments: streamTransports)
    func universal(transport: TransportKind) async throws {
        try await withRingGroup(transport) { group async throws in
            let plain = try PlainListener()
            let journal = Journal()
            let bootstrap = NIOClientTCPBootstrap(RingClientBootstrap(group: group), tls: NIOInsecureNoTLS())
                .channelConvenienceOptions([.allowRemoteHalfClosure, .disableAutoRead, .allowLocalEndpointReuse])
                .channelInitializer { $0.pipeline.addHandler(Spy(journal)) }
            let channel = try await bootstrap.connect(to: plain.address).get()
            #expect(try await channel.getOption(.allowRemoteHalfClosure).get())
            #expect(try await channel.getOption(.autoRead).get() == false)
            #expect(try await channel.getOption(.socketOption(.so_reuseaddr)).get() != 0)
            let named = try await bootstrap.connect(host: "127.0.0.1", port: plain.address.port!).get()
            #expect(named.isActive)
        }
    }

    @Test(
        "The server that closes at once is noticed as an end, not as a failure to connect", arguments: streamTransports)
    func closedAtOnce(transport: TransportKind) async throws {
        try await withRingGroup(transport) { group async throws in
            let plain = try PlainListener()
            for _ in 0..<20 {
                let journal = Journal()
                let connected = RingClientBootstrap(group: group).channelInitializer {
                    $0.pipeline.addHandler(Spy(journal))
                }.connect(to: plain.address)
                try await plain.accept().close()
                try await outcome(connected.flatMap { $0.closeFuture }).get()
                #expect(
                    journal.events == ["registered", "active", "readComplete", "inactive", "unregistered", "removed"])
            }
        }
    }
}
