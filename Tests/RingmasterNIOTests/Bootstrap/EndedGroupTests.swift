import NIOCore
import Testing

@testable import RingmasterNIO
@testable import Transport
@testable import TransportTesting

/// A listener on one group, its connections on another, and one of them has ended.
@Suite("Connections between groups of which one has ended", .timeLimit(.minutes(1)))
struct EndedGroupTests {
    private typealias Bytes = NIOAsyncChannel<ByteBuffer, ByteBuffer>

    private static func groups(_ kind: TransportKind) throws -> (RingEventLoopGroup, RingEventLoopGroup) {
        let preference: TransportPreference = kind == .epoll ? .epoll : .ioUring
        return (
            try RingEventLoopGroup(numberOfThreads: 1, transport: preference),
            try RingEventLoopGroup(numberOfThreads: 1, transport: preference)
        )
    }

    @Test("without loops for connections, they are closed", arguments: streamTransports)
    func children(transport: TransportKind) async throws {
        let (group, childGroup) = try Self.groups(transport)
        let server = try await RingServerBootstrap(group: group, childGroup: childGroup)
            .bind(host: "127.0.0.1", port: 0).get()
        try await childGroup.shutdownGracefully()
        let address = CoreAddress(server.localAddress!)
        let received = try await blocking { try Peer(connectingTo: address).receiveToEnd() }
        #expect(received == [])
        try await group.shutdownGracefully()
    }

    @Test("an asynchronous channel that no listener takes any more is closed", arguments: streamTransports)
    func listener(transport: TransportKind) async throws {
        let (group, childGroup) = try Self.groups(transport)
        let isSetUp = childGroup.loops[0].makePromise(of: Void.self)
        let accepted = Recorder<any NIOCore.Channel>()
        let server = try await RingServerBootstrap(group: group, childGroup: childGroup).bind(
            to: .init(ipAddress: "127.0.0.1", port: 0)
        ) { channel in
            accepted.record(channel)
            return isSetUp.futureResult.flatMapThrowing { try Bytes(wrappingChannelSynchronously: channel) }
        }
        let address = CoreAddress(server.channel.localAddress!)
        let peer = FarEnd(try await blocking { try Peer(connectingTo: address) })
        try await soon("a connection") { !accepted.all.isEmpty }
        try await group.shutdownGracefully()
        isSetUp.succeed(())
        let plain = peer.plain
        let received = try await blocking { try plain.receiveToEnd() }
        #expect(received == [])
        try await childGroup.shutdownGracefully()
        withExtendedLifetime(server) {}
    }
}
