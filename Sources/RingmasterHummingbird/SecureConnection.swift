import HummingbirdCore
import HummingbirdHTTP2
import Logging
import NIOCore
import NIOHTTP2
import NIOSSL
import NIOTLS

/// A connection over TLS, on which client and server agree to speak HTTP/2 or HTTP/1.1 (ALPN).
struct SecureConnection: ServerChildChannel {
    enum Agreed: Sendable {
        case http1(HTTP1Connection.Value)
        case http2(HTTP2Channel.Value)
    }

    struct Value: ServerChildChannelValue {
        let agreed: EventLoopFuture<Agreed>
        let channel: any Channel
    }

    let tls: NIOSSLContext
    let http1: HTTP1Connection
    /// Nil when only HTTP/1.1 is spoken.
    let http2: HTTP2Channel?
    let handshakeTimeout: Duration?

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        channel.eventLoop.makeCompletedFuture {
            let pipeline = channel.pipeline.syncOperations
            try pipeline.addHandler(NIOSSLServerHandler(context: tls))
            let negotiation = NIOTypedApplicationProtocolNegotiationHandler<Agreed> { result, channel in
                if let http2, case .negotiated("h2") = result {
                    return channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(StreamShield())
                    }.flatMap {
                        http2.setup(channel: channel, logger: logger).map { .http2($0) }
                    }
                }
                return http1.setup(channel: channel, logger: logger).map { .http1($0) }
            }
            try pipeline.addHandler(negotiation)
            let agreed = negotiation.protocolNegotiationResult
            limit(agreed, channel)
            return Value(agreed: agreed, channel: channel)
        }
    }

    private func limit(_ agreed: EventLoopFuture<Agreed>, _ channel: any Channel) {
        guard let handshakeTimeout else { return }
        let timer = channel.eventLoop.scheduleTask(in: .duration(handshakeTimeout)) {
            channel.close(promise: nil)
        }
        agreed.whenComplete { _ in timer.cancel() }
    }

    func handle(value: Value, logger: Logger) async {
        do {
            switch try await value.agreed.get() {
            case .http1(let channel): await http1.handle(value: channel, logger: logger)
            case .http2(let channel): await http2?.handle(value: channel, logger: logger)
            }
        } catch {
            logger.debug("TLS: no connection came about", metadata: ["error": "\(error)"])
        }
    }
}

/// Tells the connection that the worker leaves, and not its streams: of those, each would close that has not heard of its
/// request yet, and the client has begun it in good faith. Hummingbird's connection manager ends the connection when all
/// streams have ended that the client began before it knew.
private final class StreamShield: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = NIOAny

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard event is ChannelShouldQuiesceEvent,
            let http2 = try? context.pipeline.syncOperations.context(handlerType: NIOHTTP2Handler.self)
        else { return context.fireUserInboundEventTriggered(event) }
        // To those behind it.
        http2.fireUserInboundEventTriggered(event)
    }
}
