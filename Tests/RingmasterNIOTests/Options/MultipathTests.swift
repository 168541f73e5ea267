import Glibc
import NIOCore
import Testing

@testable import RingmasterNIO
@testable import Transport
@testable import TransportTesting

/// What socket(2) says of an MPTCP socket in this process; nil where it makes one.
private let multipathObstacle: String? = {
    do throws(SystemError) {
        close(try Socket.stream(AF_INET, protocol: 262))
        return nil
    } catch {
        return "the kernel has no MPTCP: \(error)"
    }
}()

@Suite("Multipath TCP")
struct MultipathTests {
    private static func protocolNumber(_ channel: any NIOCore.Channel) async throws -> SocketOptionValue {
        try await channel.getOption(.socketOption(.init(rawValue: SO_PROTOCOL))).get()
    }

    private static func echoing(_ group: RingEventLoopGroup) -> RingServerBootstrap {
        RingServerBootstrap(group: group).childChannelInitializer { channel in
            channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(EchoHandler()) }
        }
    }

    @Test(
        "Both ends speak it, or the one that does speaks TCP with the other; bytes come back all the same",
        .enabled(if: multipathObstacle == nil, "\(multipathObstacle ?? "")"),
        arguments: across(streamTransports, [true, false], [true, false]))
    func echo(transport: TransportKind, server: Bool, client: Bool) async throws {
        let bytes = pattern(3_000_000)
        try await withRingGroup(transport) { group async throws in
            let journal = Journal()
            let listener = try await Self.echoing(group).enableMPTCP(server).bind(host: "127.0.0.1", port: 0).get()
            let bootstrap = RingClientBootstrap(group: group).enableMPTCP(client).channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Spy(journal)) }
            }
            let port = try #require(listener.localAddress?.port)
            for channel in [
                try await bootstrap.connect(host: "127.0.0.1", port: port).get(),
                try await bootstrap.connect(to: listener.localAddress!).get(),
            ] {
                #expect(try await Self.protocolNumber(channel) == (client ? 262 : 6))
                // Told by the kernel while both ends speak it (mptcp.7 of iproute2).
                let info = try #require(channel as? any SocketOptionProvider).getMPTCPInfo()
                if client, server { _ = try await info.get() } else { #expect(try await failure(info) is IOError) }
                try await outcome(channel.sending(ByteBuffer(bytes))).get()
            }
            #expect(try await Self.protocolNumber(listener) == (server ? 262 : 6))
            try await journal.wait(forBytes: 2 * bytes.count)
        }
    }

    @Test(
        "Enabling it takes TCP_NODELAY back, and a bound socket is refused",
        .enabled(if: multipathObstacle == nil, "\(multipathObstacle ?? "")"), arguments: streamTransports)
    func options(transport: TransportKind) async throws {
        try await withRingGroup(transport) { group async throws in
            let listener = try await RingServerBootstrap(group: group).enableMPTCP(true)
                .bind(host: "127.0.0.1", port: 0).get()
            #expect(try await listener.getOption(.tcpOption(.tcp_nodelay)).get() == 0)
            let bootstrap = RingClientBootstrap(group: group).enableMPTCP(true)
            let client = try await bootstrap.connect(to: listener.localAddress!).get()
            #expect(try await client.getOption(.tcpOption(.tcp_nodelay)).get() == 0)
            let usual = try await bootstrap.enableMPTCP(false).connect(to: listener.localAddress!).get()
            #expect(try await Self.protocolNumber(usual) == 6)

            let fd = try Socket.stream(AF_INET)
            defer { close(fd) }
            try Socket.bind(fd, to: .anyLoopback)
            let bound = RingServerBootstrap(group: group).enableMPTCP(true).withBoundSocket(fd)
            #expect(try await failure(bound) as? ChannelError == .operationUnsupported)
            // Not the bootstrap's to close.
            #expect(Socket.localAddress(of: fd) != nil)
        }
    }

    @Test("Where it cannot be had, connecting and binding fail with what socket(2) says", arguments: streamTransports)
    func notThere(transport: TransportKind) async throws {
        try await withRingGroup(transport) { group async throws in
            // No kernel has it on Unix-domain sockets.
            let path = temporaryPath()
            let bound = RingServerBootstrap(group: group).enableMPTCP(true).bind(unixDomainSocketPath: path)
            #expect((try await failure(bound) as? IOError)?.errnoCode == EPROTONOSUPPORT)
            let connected = RingClientBootstrap(group: group).enableMPTCP(true).connect(unixDomainSocketPath: path)
            #expect((try await failure(connected) as? IOError)?.errnoCode == EPROTONOSUPPORT)
            guard multipathObstacle != nil else { return }
            let address = try NIOCore.SocketAddress(ipAddress: "127.0.0.1", port: 9)
            let codes = [EINVAL, EPROTONOSUPPORT, ENOPROTOOPT]
            let server = RingServerBootstrap(group: group).enableMPTCP(true).bind(to: address)
            #expect(codes.contains((try await failure(server) as? IOError)?.errnoCode ?? 0))
            let client = RingClientBootstrap(group: group).enableMPTCP(true).connect(to: address)
            #expect(codes.contains((try await failure(client) as? IOError)?.errnoCode ?? 0))
        }
    }
}
