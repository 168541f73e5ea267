import Glibc
import NIOCore
import Testing

@testable import RingmasterNIO
@testable import Transport
@testable import TransportTesting

@Suite("Bootstraps and their initializers")
struct InitializerTests {
    private typealias Initializer = @Sendable (any NIOCore.Channel) -> EventLoopFuture<Void>

    /// Every way of a bootstrap to come to a channel.
    enum Origin: CaseIterable {
        case listener, boundListener, client, named, connectedSocket, datagram, boundDatagram, connectedDatagram
    }

    /// Runs `body` with a channel that does not read by itself, and closes it. Its peer stays until then.
    private static func withChannel(
        _ origin: Origin, on loop: RingEventLoop, _ initializer: @escaping Initializer,
        _ body: (any NIOCore.Channel) async throws -> Void
    ) async throws {
        let loopback = try NIOCore.SocketAddress(ipAddress: "127.0.0.1", port: 0)
        let server = RingServerBootstrap(group: loop).serverChannelOption(.autoRead, value: false)
            .serverChannelInitializer(initializer)
        let client = RingClientBootstrap(group: loop).channelOption(.autoRead, value: false)
            .channelInitializer(initializer)
        let datagram = RingDatagramBootstrap(group: loop).channelOption(.autoRead, value: false)
            .channelInitializer(initializer)
        let peer = try PlainListener()
        let (left, right) = try tcpPair()
        let other = OwnedDescriptor(left)
        if origin != .connectedSocket { close(right) }
        let channel: any NIOCore.Channel
        switch origin {
        case .listener:
            channel = try await server.bind(to: loopback).get()
        case .boundListener:
            let fd = try Socket.stream(AF_INET)
            try Socket.bind(fd, to: .anyLoopback)
            channel = try await server.withBoundSocket(fd).get()
        case .client:
            channel = try await client.connect(to: peer.address).get()
        case .named:
            channel = try await client.connect(host: "127.0.0.1", port: peer.address.port!).get()
        case .connectedSocket:
            channel = try await client.withConnectedSocket(right).get()
        case .datagram:
            channel = try await datagram.bind(to: loopback).get()
        case .boundDatagram:
            let fd = try Socket.datagram(family: AF_INET)
            try Socket.bind(fd, to: .anyLoopback)
            channel = try await datagram.withBoundSocket(fd).get()
        case .connectedDatagram:
            channel = try await datagram.connect(to: .init(ipAddress: "127.0.0.1", port: 9)).get()
        }
        try await body(channel)
        try await channel.close().get()
        withExtendedLifetime((peer, other)) {}
    }

    @Test(
        "Options are set before the initializer is called, on the channel's loop and before it is registered",
        arguments: across(streamTransports, Origin.allCases))
    func optionsFirst(transport: TransportKind, origin: Origin) async throws {
        try await withRingGroup(transport) { group async throws in
            let journal = Journal()
            try await Self.withChannel(origin, on: group.loops[0]) { channel in
                #expect(channel.eventLoop.inEventLoop && !channel.isActive)
                #expect((try? channel.syncOptions?.getOption(.autoRead)) == false)
                journal.note("initialized")
                return channel.pipeline.addHandler(Spy(journal))
            } _: { _ in
                try await journal.wait(for: "active")
                #expect(journal.events == ["initialized", "registered", "active"])
            }
        }
    }

    @Test(
        "A future of another loop may be returned, at once or later",
        arguments: across(streamTransports, Origin.allCases))
    func otherLoop(transport: TransportKind, origin: Origin) async throws {
        try await withRingGroup(transport, count: 2) { group async throws in
            let (loop, other) = (group.loops[0], group.loops[1])
            for delay in [TimeAmount.zero, .milliseconds(5)] {
                let journal = Journal()
                try await Self.withChannel(origin, on: loop) { channel in
                    #expect(loop.inEventLoop)
                    let added = channel.pipeline.addHandler(Spy(journal)).hop(to: other)
                    guard delay > .zero else { return added }
                    return added.flatMap { other.scheduleTask(in: delay) {}.futureResult }
                } _: { channel in
                    #expect(channel.eventLoop === loop)
                    try await journal.wait(for: "active")
                }
            }
        }
    }

    @Test(
        "A future of another loop that fails is the bootstrap's failure, and closes the channel",
        arguments: across(streamTransports, Origin.allCases))
    func otherLoopFails(transport: TransportKind, origin: Origin) async throws {
        try await withRingGroup(transport, count: 2) { group async throws in
            let journal = Journal()
            let other = group.loops[1]
            await #expect(throws: Refusal.self) {
                try await Self.withChannel(origin, on: group.loops[0]) { channel in
                    channel.closeFuture.whenComplete { _ in journal.note("closed") }
                    return other.scheduleTask(in: .milliseconds(1)) { throw Refusal() }.futureResult
                } _: { _ in
                    Issue.record("there is a channel")
                }
            }
            try await journal.wait(for: "closed")
        }
    }

    @Test("What an asynchronous initializer makes may come from another loop", arguments: streamTransports)
    func madeOnOtherLoop(transport: TransportKind) async throws {
        try await withRingGroup(transport, count: 2) { group async throws in
            let (loop, other) = (group.loops[0], group.loops[1])
            let address = try NIOCore.SocketAddress(ipAddress: "127.0.0.1", port: 0)
            let datagram = try await RingDatagramBootstrap(group: loop).bind(to: address) {
                other.makeSucceededFuture($0)
            }
            let plain = try PlainListener()
            let client = try await RingClientBootstrap(group: loop).connect(to: plain.address) {
                other.makeSucceededFuture($0)
            }
            let (left, right) = try tcpPair()
            defer { close(left) }
            let connected = try await RingClientBootstrap(group: loop).withConnectedSocket(right) {
                other.makeSucceededFuture($0)
            }
            for channel in [datagram, client, connected] { #expect(channel.isActive && channel.eventLoop === loop) }
            withExtendedLifetime(plain) {}
            let fd = try Socket.stream(AF_INET)
            try Socket.bind(fd, to: .anyLoopback)
            let server = try await RingServerBootstrap(group: loop).bind(fd) { other.makeSucceededFuture($0) }
            let remote = CoreAddress(server.channel.localAddress!)
            let peer = FarEnd(try await blocking { try Peer(connectingTo: remote) })
            try await server.executeThenClose { connections in
                var iterator = connections.makeAsyncIterator()
                let child = try #require(try await iterator.next())
                #expect(child.isActive && child.eventLoop === loop)
                try await child.close().get()
            }
            #expect(try await peer.receiveToEnd().isEmpty)
        }
    }

    // MARK: The address to connect from

    @Test("The socket's options are set before it is bound", arguments: streamTransports)
    func bindAfterOptions(transport: TransportKind) async throws {
        try await withRingGroup(transport) { group async throws in
            // Only who says SO_REUSEPORT before binding gets an address that is taken (socket(7)).
            let fd = try Socket.stream(AF_INET)
            defer { close(fd) }
            #expect(Socket.set(fd, SOL_SOCKET, SO_REUSEPORT, 1))
            try Socket.bind(fd, to: .anyLoopback)
            let taken = NIOCore.SocketAddress(try #require(Socket.localAddress(of: fd)))
            let plain = try PlainListener()
            let refused = RingClientBootstrap(group: group).bind(to: taken).connect(to: plain.address)
            #expect((try await failure(refused) as? IOError)?.errnoCode == EADDRINUSE)
            let channel = try await RingClientBootstrap(group: group).bind(to: taken)
                .channelOption(.socketOption(.init(rawValue: SO_REUSEPORT)), value: 1).connect(to: plain.address).get()
            #expect(channel.localAddress == taken)
            withExtendedLifetime(plain) {}
        }
    }

    @Test("The initializer sees the address that is connected from", arguments: streamTransports)
    func localAddress(transport: TransportKind) async throws {
        try await withRingGroup(transport) { group async throws in
            let plain = try PlainListener()
            let seen = Recorder<NIOCore.SocketAddress?>()
            let bootstrap = RingClientBootstrap(group: group).bind(to: try .init(ipAddress: "127.0.0.2", port: 0))
                .channelInitializer { channel in
                    seen.record(channel.localAddress)
                    return channel.eventLoop.makeSucceededVoidFuture()
                }
            let channel = try await bootstrap.connect(to: plain.address).get()
            #expect(seen.all == [channel.localAddress] && channel.localAddress?.ipAddress == "127.0.0.2")
            let second = try await bootstrap.connect(host: "127.0.0.1", port: plain.address.port!) { channel in
                seen.record(channel.localAddress)
                return channel.eventLoop.makeSucceededFuture(channel)
            }
            #expect(seen.all.dropFirst() == [second.localAddress, second.localAddress])
            withExtendedLifetime(plain) {}
        }
    }

    @Test(
        "A name is connected to by the address of it that goes with the own one, which may be bound again",
        arguments: across(streamTransports, [StreamFamily.ipv4, .ipv6]))
    func eitherFamily(transport: TransportKind, family: StreamFamily) async throws {
        try await withRingGroup(transport) { group async throws in
            let own = try family.address()
            let first = try await RingServerBootstrap(group: group).bind(to: own).get()
            let second = try await RingServerBootstrap(group: group).bind(to: own).get()
            let bootstrap = RingClientBootstrap(group: group).channelOption(.socketOption(.so_reuseaddr), value: 1)
            bootstrap.lookUp = bothLoopbacks
            let named = try await bootstrap.bind(to: own)
                .connect(host: "two.invalid", port: first.localAddress!.port!).get()
            let address = try #require(named.localAddress)
            #expect(address.ipAddress == own.ipAddress && address.port != 0)
            let again = try await bootstrap.bind(to: address).connect(to: second.localAddress!).get()
            #expect(again.localAddress == address)
        }
    }
}
