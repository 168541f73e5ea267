import NIOCore
import NIOHTTP1
import NIOWebSocket

extension Room {
    /// A message in one frame, and one that comes in several. Longer ones end the connection.
    static var messageBytesMax: Int { 64 * 1024 }

    /// The child-channel initialiser: HTTP/1.1 until the handshake, WebSocket and a ``Member`` after it.
    @Sendable func enter(_ channel: any Channel) -> EventLoopFuture<Void> {
        let upgrader = NIOWebSocketServerUpgrader(
            maxFrameSize: Self.messageBytesMax, automaticErrorHandling: false,
            shouldUpgrade: { channel, _ in channel.eventLoop.makeSucceededFuture([:]) },
            upgradePipelineHandler: { [self] channel, _ in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandlers([
                        NIOWebSocketFrameAggregator(
                            minNonFinalFragmentSize: 0, maxAccumulatedFrameCount: 64,
                            maxAccumulatedFrameSize: Self.messageBytesMax),
                        Member(of: self),
                    ])
                }
            })
        return channel.eventLoop.makeCompletedFuture {
            let handlers = channel.pipeline.syncOperations
            try handlers.configureHTTPServerPipeline(
                withServerUpgrade: (upgraders: [upgrader], completionHandler: { NoHandshake.remove($0) }))
            try handlers.addHandler(NoHandshake())
        }
    }
}

/// Answers requests that are no WebSocket handshake.
private final class NoHandshake: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    /// The handshake has been made.
    static func remove(_ context: ChannelHandlerContext) {
        let handlers = context.pipeline.syncOperations
        if let handler = try? handlers.context(handlerType: NoHandshake.self) {
            handlers.removeHandler(context: handler, promise: nil)
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard case .end = Self.unwrapInboundIn(data) else { return }
        let headers: HTTPHeaders = ["Upgrade": "websocket", "Connection": "Upgrade, close", "Content-Length": "0"]
        let head = HTTPResponseHead(version: .http1_1, status: .upgradeRequired, headers: headers)
        context.write(Self.wrapOutboundOut(.head(head)), promise: nil)
        context.writeAndFlush(Self.wrapOutboundOut(.end(nil)), promise: nil)
        context.close(promise: nil)
    }

    /// The worker leaves: who has not made the handshake may make it elsewhere.
    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is ChannelShouldQuiesceEvent { context.close(promise: nil) }
        context.fireUserInboundEventTriggered(event)
    }
}
