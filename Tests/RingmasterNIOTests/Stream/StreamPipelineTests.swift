import NIOCore
import Testing

@testable import RingmasterNIO
@testable import Transport
@testable import TransportTesting

@Suite("A stream channel's pipeline at the channel's end")
struct StreamPipelineTests {
    /// Asked to leave the pipeline, it stays; it may leave when it is told that it has been removed.
    ///
    /// Unchecked: on the loop's thread only.
    private final class Lingering: ChannelInboundHandler, RemovableChannelHandler, @unchecked Sendable {
        typealias InboundIn = Any
        private let journal: Journal
        private let leavesAtLast: Bool
        private var token: ChannelHandlerContext.RemovalToken?

        init(_ journal: Journal, leavesAtLast: Bool) {
            self.journal = journal
            self.leavesAtLast = leavesAtLast
        }

        func removeHandler(context: ChannelHandlerContext, removalToken: ChannelHandlerContext.RemovalToken) {
            journal.note("asked to leave")
            token = removalToken
        }

        func handlerRemoved(context: ChannelHandlerContext) {
            journal.note("lingering removed")
            if leavesAtLast, let token { context.leavePipeline(removalToken: token) }
        }
    }

    private final class Weak: Sendable {
        // Sendable: set before it is shared.
        nonisolated(unsafe) weak var channel: (any NIOCore.Channel)?
        init(_ channel: any NIOCore.Channel) { self.channel = channel }
    }

    @Test(
        "Kept longer than its channel, a pipeline lets go of it, and what is written there fails",
        arguments: streamTransports)
    func keptLonger(transport: TransportKind) async throws {
        try await withRingGroup(transport) { group async throws in
            func use() async throws -> [(ChannelPipeline, Weak)] {
                let children = Recorder<any NIOCore.Channel>()
                let listener = try await RingServerBootstrap(group: group).childChannelInitializer { channel in
                    children.record(channel)
                    return channel.eventLoop.makeSucceededVoidFuture()
                }.bind(host: "127.0.0.1", port: 0).get()
                let client = try await RingClientBootstrap(group: group).connect(to: listener.localAddress!).get()
                try await soon("a child") { !children.all.isEmpty }
                let channels = [listener, client, try children.next()]
                for channel in channels { channel.close(promise: nil) }
                for channel in channels { try await outcome(channel.closeFuture).get() }
                return channels.map { ($0.pipeline, Weak($0)) }
            }
            for (pipeline, weak) in try await use() {
                try await soon("the channel's end") { weak.channel == nil }
                let written = group.loops[0].makePromise(of: Void.self)
                let closed = group.loops[0].makePromise(of: Void.self)
                try await group.loops[0].submit {
                    pipeline.syncOperations.writeAndFlush(NIOAny(ByteBuffer(string: "x")), promise: written)
                    pipeline.syncOperations.close(mode: .all, promise: closed)
                    #expect(throws: ChannelError.ioOnClosedChannel) {
                        try pipeline.syncOperations.addHandler(EchoHandler())
                    }
                }.get()
                #expect(try await failure(written.futureResult) as? ChannelError == .ioOnClosedChannel)
                #expect(try await failure(closed.futureResult) as? ChannelError == .alreadyClosed)
            }
        }
    }

    @Test("A handler that is added to a closed channel is refused, and told nothing", arguments: streamTransports)
    func addedAfterClose(transport: TransportKind) async throws {
        try await withAccepted(transport) { it async throws in
            let channel = it.channel
            try await outcome(channel.close()).get()
            try await outcome(channel.closeFuture).get()
            let late = Journal()
            let added: EventLoopFuture<Void> = channel.pipeline.addHandler(Spy(late))
            #expect(try await failure(added) as? ChannelError == .ioOnClosedChannel)
            try await it.onLoop {
                _ = #expect(throws: ChannelError.ioOnClosedChannel) {
                    try channel.pipeline.syncOperations.addHandler(Spy(late))
                }
            }
            #expect(late.events.isEmpty)
        }
    }

    @Test("A handler that is added while the channel closes is removed with the others", arguments: streamTransports)
    func addedInClose(transport: TransportKind) async throws {
        let late = Journal()
        try await withAccepted(transport) {
            $0
        } spy: { spy in
            spy.on["unregistered"] = { try? $0.pipeline.syncOperations.addHandler(Spy(late)) }
        } _: { it async throws in
            try await outcome(it.channel.close()).get()
            try await outcome(it.channel.closeFuture).get()
            #expect(late.events == ["removed"])
        }
    }

    @Test(
        "A handler that is still to leave when the channel ends is removed, once, whether it leaves then or never",
        arguments: across(streamTransports, [false, true]))
    func leavingAtEnd(transport: TransportKind, leavesAtLast: Bool) async throws {
        try await withAccepted(transport) { it async throws in
            let (channel, journal) = (it.channel, it.journal)
            try await it.onLoop {
                let lingering = Lingering(journal, leavesAtLast: leavesAtLast)
                try channel.pipeline.syncOperations.addHandler(lingering)
                // A promise is kept only when the handler leaves.
                let left = leavesAtLast ? channel.eventLoop.makePromise(of: Void.self) : nil
                left?.futureResult.whenSuccess { journal.note("left") }
                channel.pipeline.syncOperations.removeHandler(lingering, promise: left)
            }
            #expect(journal.has("asked to leave") && !journal.has("lingering removed"))
            it.peer.close()
            try await outcome(channel.closeFuture).get()
            #expect(journal.count("asked to leave") == 1 && journal.count("lingering removed") == 1)
            #expect(journal.count("left") == (leavesAtLast ? 1 : 0))
            #expect(journal.count("removed") == 1)
        }
    }

    @Test("Connecting does not ask the handlers to bind", arguments: streamTransports)
    func connectingBindsNothing(transport: TransportKind) async throws {
        final class Binding: ChannelOutboundHandler, Sendable {
            typealias OutboundIn = Never
            private let journal: Journal
            init(_ journal: Journal) { self.journal = journal }

            func bind(
                context: ChannelHandlerContext, to address: NIOCore.SocketAddress, promise: EventLoopPromise<Void>?
            ) {
                journal.note("bind")
                context.bind(to: address, promise: promise)
            }

            func connect(
                context: ChannelHandlerContext, to address: NIOCore.SocketAddress, promise: EventLoopPromise<Void>?
            ) {
                journal.note("connect")
                context.connect(to: address, promise: promise)
            }
        }
        try await withRingGroup(transport) { group async throws in
            let plain = try PlainListener()
            let journal = Journal()
            let bootstrap = RingClientBootstrap(group: group).channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Binding(journal))
                }
            }
            _ = try await bootstrap.connect(to: plain.address).get()
            #expect(journal.events == ["connect"])
            // Nor does a local address: binding to it is done by then.
            _ = try await bootstrap.bind(to: .init(ipAddress: "127.0.0.1", port: 0)).connect(to: plain.address).get()
            #expect(journal.events == ["connect", "connect"])
        }
    }
}
