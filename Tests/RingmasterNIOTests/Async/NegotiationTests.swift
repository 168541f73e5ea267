import NIOCore
import NIOTLS
import Testing

@testable import RingmasterNIO
@testable import Transport
@testable import TransportTesting

/// Protocols negotiated by SwiftNIO's typed handler, and asynchronous channels that come of it.
@Suite("Negotiated asynchronous channels", .timeLimit(.minutes(1)))
struct NegotiationTests {
    private typealias Bytes = NIOAsyncChannel<ByteBuffer, ByteBuffer>
    private typealias Negotiator = NIOTypedApplicationProtocolNegotiationHandler

    /// The way to a channel, and the channel.
    private struct Negotiated: Sendable {
        var names: [String]
        var channel: Bytes
    }

    /// Hands on one byte at a time, as if each had come alone.
    private final class SingleBytes: ChannelInboundHandler, Sendable {
        typealias InboundIn = ByteBuffer
        typealias InboundOut = ByteBuffer

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            var buffer = Self.unwrapInboundIn(data)
            while let byte = buffer.readSlice(length: 1) { context.fireChannelRead(Self.wrapInboundOut(byte)) }
        }
    }

    /// Datagrams of one peer as bytes: it answers to whom it hears.
    ///
    /// Unchecked: on the loop's thread only.
    private final class OnePeer: ChannelDuplexHandler, @unchecked Sendable {
        typealias InboundIn = Envelope
        typealias InboundOut = ByteBuffer
        typealias OutboundIn = ByteBuffer
        typealias OutboundOut = Envelope
        private var peer: NIOCore.SocketAddress?

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let envelope = Self.unwrapInboundIn(data)
            peer = envelope.remoteAddress
            context.fireChannelRead(Self.wrapInboundOut(envelope.data))
        }

        func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
            guard let peer = peer ?? context.channel.remoteAddress else {
                promise?.fail(ChannelError.operationUnsupported)
                return
            }
            let envelope = Envelope(remoteAddress: peer, data: Self.unwrapOutboundIn(data))
            context.write(Self.wrapOutboundOut(envelope), promise: promise)
        }
    }

    /// In the place of TLS: who proposes sends a byte, the other sends it back, and both have agreed.
    ///
    /// Unchecked: on the loop's thread only.
    private final class Agreeing: ChannelInboundHandler, @unchecked Sendable {
        typealias InboundIn = ByteBuffer
        typealias InboundOut = ByteBuffer
        typealias OutboundOut = ByteBuffer
        private let proposal: String?
        private var hasAgreed = false

        init(_ proposal: String?) { self.proposal = proposal }

        func handlerAdded(context: ChannelHandlerContext) { if context.channel.isActive { propose(context) } }

        func channelActive(context: ChannelHandlerContext) {
            propose(context)
            context.fireChannelActive()
        }

        private func propose(_ context: ChannelHandlerContext) {
            guard let proposal else { return }
            context.writeAndFlush(Self.wrapOutboundOut(ByteBuffer(string: proposal)), promise: nil)
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            guard !hasAgreed else { return context.fireChannelRead(data) }
            hasAgreed = true
            if proposal == nil { context.writeAndFlush(data, promise: nil) }
            let name = String(buffer: Self.unwrapInboundIn(data))
            context.fireUserInboundEventTriggered(TLSUserEvent.handshakeCompleted(negotiatedProtocol: name))
        }
    }

    /// Negotiates once, and wraps the channel then. Loop thread.
    private static func once(
        _ channel: any NIOCore.Channel, _ proposal: String?, behind names: [String] = []
    ) throws -> EventLoopFuture<Negotiated> {
        let negotiator = Negotiator<Negotiated> { result in
            channel.eventLoop.makeCompletedFuture {
                Negotiated(
                    names: names + [try name(result)], channel: try Bytes(wrappingChannelSynchronously: channel))
            }
        }
        try channel.pipeline.syncOperations.addHandlers(Agreeing(proposal), negotiator)
        return negotiator.protocolNegotiationResult
    }

    /// Negotiates, and again when that is done. Loop thread.
    private static func twice(
        _ channel: any NIOCore.Channel, _ outer: String?, _ inner: String?
    ) throws -> EventLoopFuture<EventLoopFuture<Negotiated>> {
        let negotiator = Negotiator<EventLoopFuture<Negotiated>> { result in
            channel.eventLoop.makeCompletedFuture { try once(channel, inner, behind: [try name(result)]) }
        }
        try channel.pipeline.syncOperations.addHandlers(SingleBytes(), Agreeing(outer), negotiator)
        return negotiator.protocolNegotiationResult
    }

    private static func name(_ result: ALPNResult) throws -> String {
        guard case .negotiated(let name) = result else { throw Refusal() }
        return name
    }

    @Test("One negotiation behind another leads both ends to the same", arguments: streamTransports)
    func nested(transport: TransportKind) async throws {
        try await withRingGroup(transport, count: 2) { group async throws in
            let server = try await RingServerBootstrap(group: group).bind(host: "127.0.0.1", port: 0) { channel in
                channel.eventLoop.makeCompletedFuture { try Self.twice(channel, nil, nil) }
            }
            let port = try #require(server.channel.localAddress?.port)
            try await server.executeThenClose { connections in
                var iterator = connections.makeAsyncIterator()
                for (outer, inner) in across(["s", "b"], ["s", "b"]) {
                    let negotiating = try await RingClientBootstrap(group: group).connect(
                        host: "127.0.0.1", port: port
                    ) { channel in
                        channel.eventLoop.makeCompletedFuture { try Self.twice(channel, outer, inner) }
                    }
                    let accepted = try #require(try await iterator.next())
                    let client = try await negotiating.get().get()
                    let served = try await accepted.get().get()
                    #expect(client.names == [outer, inner] && served.names == [outer, inner])
                    try await Self.exchange(client.channel, served.channel)
                }
            }
        }
    }

    @Test("Datagram channels negotiate as others do", arguments: streamTransports)
    func datagrams(transport: TransportKind) async throws {
        try await withRingGroup(transport, count: 2) { group async throws in
            // A server's channel is known when the negotiation is over; its port must be before.
            let port = try #require(try Self.freePort())
            let negotiated = try await RingDatagramBootstrap(group: group).bind(host: "127.0.0.1", port: port) {
                channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(OnePeer())
                    return try Self.once(channel, nil)
                }
            }
            let negotiating = try await RingDatagramBootstrap(group: group).connect(host: "127.0.0.1", port: port) {
                channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(OnePeer())
                    return try Self.once(channel, "s")
                }
            }
            let (client, served) = (try await negotiating.get(), try await negotiated.get())
            #expect(client.names == ["s"] && served.names == ["s"])
            try await Self.exchange(client.channel, served.channel)
        }
    }

    /// A port of UDP that nobody has now.
    private static func freePort() throws -> Int? {
        try DatagramPeer().address.port.map(Int.init)
    }

    /// A byte each way, then the end of both.
    private static func exchange(_ client: Bytes, _ served: Bytes) async throws {
        try await client.executeThenClose { answers, questions in
            try await served.executeThenClose { inbound, outbound in
                try await questions.write(ByteBuffer(string: "?"))
                var requests = inbound.makeAsyncIterator()
                #expect(try await requests.next() == ByteBuffer(string: "?"))
                try await outbound.write(ByteBuffer(string: "!"))
                var replies = answers.makeAsyncIterator()
                #expect(try await replies.next() == ByteBuffer(string: "!"))
            }
        }
    }
}
