import Foundation
import NIOCore
import NIOExtras
import Testing

@testable import RingmasterNIO
@testable import Transport
@testable import TransportTesting

@Suite("Listener channels")
struct ListenerTests {
    /// Notes what a listener's pipeline is told; connections by whether they are active already.
    private final class ListenerSpy: ChannelInboundHandler, Sendable {
        typealias InboundIn = any NIOCore.Channel
        typealias InboundOut = any NIOCore.Channel
        private let journal: Journal
        init(_ journal: Journal) { self.journal = journal }

        func channelRegistered(context: ChannelHandlerContext) { journal.note("registered") }
        func channelActive(context: ChannelHandlerContext) { journal.note("active") }
        func channelInactive(context: ChannelHandlerContext) { journal.note("inactive") }
        func channelUnregistered(context: ChannelHandlerContext) { journal.note("unregistered") }
        func handlerRemoved(context: ChannelHandlerContext) { journal.note("removed") }
        func channelReadComplete(context: ChannelHandlerContext) { journal.note("readComplete") }
        func errorCaught(context: ChannelHandlerContext, error: any Error) { journal.note("error \(error)") }
        func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
            journal.note("event \(type(of: event))")
            context.fireUserInboundEventTriggered(event)
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            journal.note("read active: \(Self.unwrapInboundIn(data).isActive)")
            context.fireChannelRead(data)
        }
    }

    private final class Echo: ChannelInboundHandler, Sendable {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer
        func channelRead(context: ChannelHandlerContext, data: NIOAny) { context.write(data, promise: nil) }
        func channelReadComplete(context: ChannelHandlerContext) { context.flush() }
    }

    private static func echoing(_ group: RingEventLoopGroup) -> RingServerBootstrap {
        RingServerBootstrap(group: group).childChannelInitializer { channel in
            channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Echo()) }
        }
    }

    private static func peer(of listener: any NIOCore.Channel) async throws -> FarEnd {
        let address = CoreAddress(listener.localAddress!)
        return FarEnd(try await blocking { try Peer(connectingTo: address) })
    }

    @Test(
        "It is registered, active, reads connections, and ends in that order",
        arguments: across(streamTransports, StreamFamily.allCases))
    func order(transport: TransportKind, family: StreamFamily) async throws {
        let address = try family.address()
        defer { if let path = address.pathname, family == .unix { unlink(path) } }
        try await withRingGroup(transport) { group async throws in
            let journal = Journal()
            let listener = try await Self.echoing(group).serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(ListenerSpy(journal))
                }
            }.bind(to: address).get()
            #expect(listener.isActive && !listener.isWritable && listener.parent == nil)
            #expect(listener.remoteAddress == nil)
            if family != .unix { #expect(listener.localAddress?.port != 0) }
            let peer = try await Self.peer(of: listener)
            try await peer.send("echo")
            #expect(try await peer.receive(exactly: 4) == Array("echo".utf8))
            try await journal.wait(for: "readComplete")
            try await outcome(listener.close()).get()
            try await journal.wait(for: "removed")
            #expect(
                journal.events == [
                    "registered", "active", "read active: false", "readComplete", "inactive", "unregistered", "removed",
                ])
            // Its connections are not its own to close.
            try await peer.send("still")
            #expect(try await peer.receive(exactly: 5) == Array("still".utf8))
            #expect(throws: SystemError.self) { try Peer(connectingTo: CoreAddress(address)) }
        }
    }

    @Test("A child knows its listener, and has the options that were set for children", arguments: streamTransports)
    func childOptions(transport: TransportKind) async throws {
        try await withAccepted(transport) {
            $0.childChannelOption(.autoRead, value: false)
                .childChannelOption(.maxMessagesPerRead, value: 7)
                .childChannelOption(.socketOption(.so_keepalive), value: 1)
                .serverChannelOption(.backlog, value: 9)
        } initialize: { channel in
            #expect(!channel.isActive)
            #expect((try? channel.syncOptions?.getOption(.autoRead)) == false)
        } _: { it async throws in
            #expect(it.channel.parent === it.listener)
            #expect(it.channel.localAddress == it.listener.localAddress)
            #expect(it.channel.remoteAddress?.port != it.listener.localAddress?.port)
            #expect(try await it.channel.getOption(.maxMessagesPerRead).get() == 7)
            #expect(try await it.channel.getOption(.socketOption(.so_keepalive)).get() == 1)
            #expect(try await it.listener.getOption(.backlog).get() == 9)
        }
    }

    @Test(
        "TCP_NODELAY is on for listeners and children, unless it is switched off",
        arguments: across(streamTransports, [StreamFamily.ipv4, .ipv6]))
    func noDelay(transport: TransportKind, family: StreamFamily) async throws {
        try await withAccepted(transport, family) { it async throws in
            #expect(try await it.listener.getOption(.tcpOption(.tcp_nodelay)).get() != 0)
            #expect(try await it.channel.getOption(.tcpOption(.tcp_nodelay)).get() != 0)
        }
        try await withAccepted(transport, family) {
            $0.serverChannelOption(.tcpOption(.tcp_nodelay), value: 0).childChannelOption(
                .tcpOption(.tcp_nodelay), value: 0)
        } _: { it async throws in
            #expect(try await it.listener.getOption(.tcpOption(.tcp_nodelay)).get() == 0)
            #expect(try await it.channel.getOption(.tcpOption(.tcp_nodelay)).get() == 0)
        }
    }

    @Test("Children live on the loops of the child group, and are set up there", arguments: streamTransports)
    func childGroup(transport: TransportKind) async throws {
        try await withRingGroup(transport) { group async throws in
            try await withRingGroup(transport, count: 2) { children async throws in
                let loops = Recorder<ObjectIdentifier>()
                let listener = try await RingServerBootstrap(group: group, childGroup: children)
                    .serverChannelInitializer { channel in
                        #expect(channel.eventLoop === group.loops[0] && channel.eventLoop.inEventLoop)
                        return channel.eventLoop.makeSucceededVoidFuture()
                    }.childChannelInitializer { channel in
                        #expect(channel.eventLoop.inEventLoop)
                        loops.record(ObjectIdentifier(channel.eventLoop))
                        return channel.eventLoop.makeCompletedFuture {
                            try channel.pipeline.syncOperations.addHandler(Echo())
                        }
                    }.bind(host: "127.0.0.1", port: 0).get()
                for number in 0..<8 {
                    let peer = try await Self.peer(of: listener)
                    try await peer.send("\(number)")
                    #expect(try await peer.receive(exactly: 1) == Array("\(number)".utf8))
                }
                #expect(Set(loops.all) == Set(children.loops.map { ObjectIdentifier($0) }))
                try await listener.close().get()
            }
        }
    }

    @Test("Futures of other loops may be returned from the initializers", arguments: streamTransports)
    func foreignFutures(transport: TransportKind) async throws {
        try await withRingGroup(transport, count: 2) { group async throws in
            let other = group.loops[1]
            let listener = try await RingServerBootstrap(group: group.loops[0])
                .serverChannelInitializer { _ in other.makeSucceededVoidFuture() }
                .childChannelInitializer { channel in
                    channel.pipeline.addHandler(Echo()).hop(to: other)
                }.bind(host: "127.0.0.1", port: 0).get()
            let peer = try await Self.peer(of: listener)
            try await peer.send("x")
            #expect(try await peer.receive(exactly: 1) == Array("x".utf8))
            let client = try await RingClientBootstrap(group: group.loops[0])
                .channelInitializer { _ in other.makeSucceededVoidFuture() }.connect(to: listener.localAddress!).get()
            try await client.close().get()
        }
    }

    @Test(
        "An initializer that fails closes its connection, tells the listener, and nothing else",
        arguments: streamTransports)
    func failingInitializer(transport: TransportKind) async throws {
        struct Refused: Error {}
        try await withRingGroup(transport) { group async throws in
            let journal = Journal()
            let refusals = Recorder<Int>()
            let listener = try await RingServerBootstrap(group: group).serverChannelInitializer { channel in
                channel.eventLoop.makeSucceededVoidFuture()
            }.childChannelInitializer { channel in
                refusals.record(1)
                return refusals.all.count == 1
                    ? channel.eventLoop.makeFailedFuture(Refused()) : channel.pipeline.addHandler(Echo())
            }.bind(host: "127.0.0.1", port: 0).get()
            // Behind the handler that accepts.
            try await listener.pipeline.addHandler(ListenerSpy(journal)).get()
            let refused = try await Self.peer(of: listener)
            #expect(try await refused.receive().isEmpty)
            try await journal.wait(for: "error Refused()")
            let peer = try await Self.peer(of: listener)
            try await peer.send("x")
            #expect(try await peer.receive(exactly: 1) == Array("x".utf8))
            // What comes there is set up, and lives.
            #expect(journal.count("read active: true") == 1)
        }
    }

    @Test(
        "With automatic reading off connections wait until they are asked for",
        arguments: across(streamTransports, StreamFamily.allCases))
    func onDemand(transport: TransportKind, family: StreamFamily) async throws {
        let address = try family.address()
        defer { if let path = address.pathname, family == .unix { unlink(path) } }
        try await withRingGroup(transport) { group async throws in
            let journal = Journal()
            let listener = try await Self.echoing(group).serverChannelOption(.autoRead, value: false)
                .serverChannelOption(.maxMessagesPerRead, value: 1)
                .serverChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(ListenerSpy(journal))
                    }
                }.bind(to: address).get()
            let peers = [
                try await Self.peer(of: listener), try await Self.peer(of: listener), try await Self.peer(of: listener),
            ]
            for _ in 0..<3 { try await group.loops[0].submit {}.get() }
            #expect(!journal.has("readComplete"))
            for count in 1...3 {
                listener.read()
                try await soon("connection \(count)") { journal.count("readComplete") == count }
                for _ in 0..<3 { try await group.loops[0].submit {}.get() }
                #expect(journal.count("read active: false") == count)
            }
            for peer in peers {
                try await peer.send("x")
                #expect(try await peer.receive(exactly: 1) == Array("x".utf8))
            }
        }
    }

    @Test("Closed with connections waiting it lets go of all of them", arguments: streamTransports)
    func closedWhileWaiting(transport: TransportKind) async throws {
        try await withRingGroup(transport) { group async throws in
            let listener = try await Self.echoing(group).serverChannelOption(.autoRead, value: false)
                .bind(host: "127.0.0.1", port: 0).get()
            let stream = listener as! RingListenerChannel
            let identity = try await group.loops[0].submit { try stream.withUnsafeTransport { FileIdentity($0) } }.get()
            var peers: [FarEnd] = []
            for _ in 0..<10 { peers.append(try await Self.peer(of: listener)) }
            try await group.loops[0].submit { stream.read() }.get()
            try await outcome(listener.close()).get()
            try await outcome(listener.closeFuture).get()
            // Some may have been accepted in the moment before; the others are reset, or were parked and end.
            for peer in peers {
                try? await peer.send("x")
                let echo = try? await peer.receive()
                #expect(echo == nil || echo == [] || echo == Array("x".utf8))
            }
            #expect(!isOpenAnywhere(try #require(identity)))
            #expect(listener.localAddress == nil)
        }
    }

    @Test(
        "A port that is taken, or an address that is nobody's, fails the bind and leaks nothing",
        arguments: streamTransports)
    func bindFails(transport: TransportKind) async throws {
        try await withRingGroup(transport) { group async throws in
            let plain = try PlainListener()
            let bound = RingServerBootstrap(group: group).bind(to: plain.address)
            #expect((try await failure(bound) as? IOError)?.errnoCode == EADDRINUSE)
            let foreign = RingServerBootstrap(group: group).bind(host: "192.0.2.1", port: 0)
            #expect((try await failure(foreign) as? IOError)?.errnoCode == EADDRNOTAVAIL)
        }
    }

    @Test("An initializer that fails makes the bind fail", arguments: streamTransports)
    func serverInitializerFails(transport: TransportKind) async throws {
        struct Refused: Error {}
        try await withRingGroup(transport) { group async throws in
            let bound = RingServerBootstrap(group: group).serverChannelInitializer {
                $0.eventLoop.makeFailedFuture(Refused())
            }.bind(host: "127.0.0.1", port: 0)
            #expect(try await failure(bound) is Refused)
        }
    }

    @Test("A Unix path in use is an error, cleaned up on demand if it is a socket", arguments: streamTransports)
    func unixPaths(transport: TransportKind) async throws {
        let path = temporaryPath()
        defer { unlink(path) }
        try await withRingGroup(transport) { group async throws in
            let first = try await Self.echoing(group).bind(unixDomainSocketPath: path).get()
            try await first.close().get()
            #expect(
                (try await failure(Self.echoing(group).bind(unixDomainSocketPath: path)) as? IOError)?.errnoCode
                    == EADDRINUSE)
            let second = try await Self.echoing(group).bind(unixDomainSocketPath: path, cleanupExistingSocketFile: true)
                .get()
            #expect(second.localAddress?.pathname == path)
            let peer = try await Self.peer(of: second)
            try await peer.send("x")
            #expect(try await peer.receive(exactly: 1) == Array("x".utf8))
            try await second.close().get()
            unlink(path)
            try Data().write(to: URL(fileURLWithPath: path))
            let onFile = Self.echoing(group).bind(unixDomainSocketPath: path, cleanupExistingSocketFile: true)
            #expect(try await failure(onFile) is UnixDomainSocketPathWrongType)
            #expect(FileManager.default.fileExists(atPath: path))
            let nothing = try await Self.echoing(group).bind(
                unixDomainSocketPath: temporaryPath(), cleanupExistingSocketFile: true
            ).get()
            unlink(nothing.localAddress!.pathname!)
            #expect(
                try await failure(Self.echoing(group).bind(unixDomainSocketPath: String(repeating: "x", count: 200)))
                    != nil)
        }
    }

    @Test("A socket that is bound already is listened on", arguments: streamTransports)
    func boundSocket(transport: TransportKind) async throws {
        try await withRingGroup(transport) { group async throws in
            let fd = try Socket.stream(AF_INET)
            try Socket.bind(fd, to: .anyLoopback)
            let listener = try await Self.echoing(group).withBoundSocket(fd).get()
            #expect(listener.isActive)
            let peer = try await Self.peer(of: listener)
            try await peer.send("x")
            #expect(try await peer.receive(exactly: 1) == Array("x".utf8))
        }
    }

    @Test("What a listener cannot do fails, and does it no harm", arguments: streamTransports)
    func unsupported(transport: TransportKind) async throws {
        struct Event: Sendable {}
        try await withAccepted(transport) { it async throws in
            let (listener, address) = (it.listener, it.listener.localAddress!)
            #expect(
                try await failure(listener.holding(ByteBuffer(string: "x"))) as? ChannelError == .operationUnsupported)
            #expect(
                try await failure(listener.sending(ByteBuffer(string: "x"))) as? ChannelError == .operationUnsupported)
            #expect(try await failure(listener.connect(to: address)) as? ChannelError == .operationUnsupported)
            #expect(try await failure(listener.close(mode: .output)) as? ChannelError == .operationUnsupported)
            #expect(try await failure(listener.close(mode: .input)) as? ChannelError == .operationUnsupported)
            #expect(try await failure(listener.bind(to: address)) as? ChannelError == .inappropriateOperationForState)
            for channel in [listener, it.channel] {
                let promise = channel.eventLoop.makePromise(of: Void.self)
                channel.triggerUserOutboundEvent(Event(), promise: promise)
                #expect(try await failure(promise.futureResult) as? ChannelError == .operationUnsupported)
            }
            #expect(listener.isActive)
            try await listener.close().get()
            #expect(try await failure(listener.close()) as? ChannelError == .alreadyClosed)
            #expect(try await failure(listener.getOption(.backlog)) as? ChannelError == .ioOnClosedChannel)
            #expect(
                try await failure(listener.setOption(.socketOption(.so_reuseaddr), value: 1)) as? ChannelError
                    == .ioOnClosedChannel)
        }
    }

    @Test("Quiescing closes the listener and not its connections", arguments: streamTransports)
    func quiesce(transport: TransportKind) async throws {
        try await withAccepted(transport) { it async throws in
            let journal = Journal()
            try await it.listener.pipeline.addHandler(ListenerSpy(journal)).get()
            it.listener.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
            try await outcome(it.listener.closeFuture).get()
            #expect(journal.events.contains("event ChannelShouldQuiesceEvent"))
            #expect(it.channel.isActive)
        }
    }

    @Test("A listener that a handler keeps from closing when it is to quiesce is told why", arguments: streamTransports)
    func quiesceFails(transport: TransportKind) async throws {
        struct No: Error {}
        final class Keeper: ChannelOutboundHandler, RemovableChannelHandler, Sendable {
            typealias OutboundIn = Never
            func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
                promise?.fail(No())
                context.pipeline.syncOperations.removeHandler(self, promise: nil)
            }
        }
        try await withAccepted(transport) { it async throws in
            let journal = Journal()
            try await it.listener.pipeline.addHandler(ListenerSpy(journal)).get()
            try await it.listener.pipeline.addHandler(Keeper(), position: .first).get()
            it.listener.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
            try await journal.wait(for: "error No()")
            #expect(it.listener.isActive)
        }
    }

    @Test(
        "ServerQuiescingHelper closes the listener, tells the children, and waits for them", arguments: streamTransports
    )
    func quiescingHelper(transport: TransportKind) async throws {
        try await withRingGroup(transport) { group async throws in
            let journal = Journal()
            let helper = ServerQuiescingHelper(group: group)
            let listener = try await RingServerBootstrap(group: group).serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(helper.makeServerChannelHandler(channel: channel))
                }
            }.childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Spy(journal)) }
            }.bind(host: "127.0.0.1", port: 0).get()
            let peer = try await Self.peer(of: listener)
            try await journal.wait(for: "active")
            let done = group.loops[0].makePromise(of: Void.self)
            helper.initiateShutdown(promise: done)
            try await outcome(listener.closeFuture).get()
            try await journal.wait(for: "event ChannelShouldQuiesceEvent()")
            try await peer.send("still served")
            try await journal.wait(forBytes: 12)
            peer.close()
            try await outcome(done.futureResult).get()
        }
    }

    @Test("Two hundred connections over two loops are all served", arguments: streamTransports)
    func many(transport: TransportKind) async throws {
        try await withRingGroup(transport, count: 2) { group async throws in
            let listener = try await Self.echoing(group).bind(host: "127.0.0.1", port: 0).get()
            let address = CoreAddress(listener.localAddress!)
            let echoes = try await blocking {
                let peers = try (0..<200).map { _ in try Peer(connectingTo: address) }
                for (number, peer) in peers.enumerated() { try peer.send(pattern(1000, seed: UInt64(number + 1))) }
                return try peers.enumerated().count {
                    try $1.receive(exactly: 1000) == pattern(1000, seed: UInt64($0 + 1))
                }
            }
            #expect(echoes == 200)
        }
    }

    @Test("Connections handed over are served without a listening socket", arguments: streamTransports)
    func handedOver(transport: TransportKind) async throws {
        try await withRingGroup(transport) { group async throws in
            let loop = group.loops[0]
            let listener = RingListenerChannel(loop)
            let (client, accepted) = try tcpPair()
            let peer = FarEnd(Peer(fd: client))
            try await loop.submit {
                let accept = AcceptHandler(ChannelSetUp()) { $0.pipeline.addHandler(Echo()) }
                try listener.pipeline.syncOperations.addHandler(accept)
                // Parked until somebody reads.
                return listener.registerConfigured()
            }.flatMap { $0 }.get()
            loop.execute { listener.deliver(.init(fd: accepted)) }
            try await peer.send("x")
            #expect(try await peer.receive(exactly: 1) == Array("x".utf8))
            try await listener.close().get()
            let (late, lateAccepted) = try tcpPair()
            let copy = OwnedDescriptor(dup(lateAccepted))
            loop.execute { listener.deliver(.init(fd: lateAccepted, isShared: true)) }
            // Though another process may hold a copy.
            #expect(try await FarEnd(Peer(fd: late)).receive().isEmpty)
            withExtendedLifetime(copy) {}
        }
    }

    @Test(
        "A connection whose initializer fails ends for the peer, though its socket has a copy elsewhere",
        arguments: streamTransports)
    func refusedCopy(transport: TransportKind) async throws {
        struct Refused: Error {}
        try await withRingGroup(transport) { group async throws in
            let loop = group.loops[0]
            let listener = RingListenerChannel(loop)
            try await loop.submit {
                let accept = AcceptHandler<Void>(ChannelSetUp()) { $0.eventLoop.makeFailedFuture(Refused()) }
                try listener.pipeline.syncOperations.addHandler(accept)
                return listener.registerConfigured()
            }.flatMap { $0 }.get()
            let (client, accepted) = try tcpPair()
            let copy = OwnedDescriptor(dup(accepted))
            loop.execute { listener.deliver(.init(fd: accepted, isShared: true)) }
            #expect(try await FarEnd(Peer(fd: client)).receive().isEmpty)
            withExtendedLifetime(copy) {}
        }
    }

    @Test("A group may end while clients keep connecting", arguments: streamTransports)
    func endWhileAccepting(transport: TransportKind) async throws {
        for _ in 0..<5 {
            let group = try RingEventLoopGroup(numberOfThreads: 2, transport: transport == .epoll ? .epoll : .ioUring)
            let listener = try await Self.echoing(group).bind(host: "127.0.0.1", port: 0).get()
            let address = CoreAddress(listener.localAddress!)
            let clients = Task {
                try await blocking {
                    for _ in 0..<100 {
                        guard let peer = try? Peer(connectingTo: address) else { return }
                        try? peer.send("x")
                    }
                }
            }
            try await Task.sleep(for: .milliseconds(3))
            try await group.shutdownGracefully()
            try await clients.value
        }
    }
}
