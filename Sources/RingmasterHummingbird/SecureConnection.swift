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
                    return setUp(http2, channel, logger)
                }
                return http1.setup(channel: channel, logger: logger).map { .http1($0) }
            }
            try pipeline.addHandler(negotiation)
            let agreed = negotiation.protocolNegotiationResult
            limit(agreed, channel)
            return Value(agreed: agreed, channel: channel)
        }
    }

    private func setUp(
        _ http2: HTTP2Channel, _ channel: any Channel, _ logger: Logger
    ) -> EventLoopFuture<Agreed> {
        channel.eventLoop.makeCompletedFuture {
            try channel.pipeline.syncOperations.addHandler(StreamShield())
        }.flatMap {
            http2.setup(channel: channel, logger: logger)
        }.flatMapThrowing { value in
            let pipeline = channel.pipeline.syncOperations
            let handler = try pipeline.handler(type: NIOHTTP2Handler.self)
            try pipeline.addHandler(HTTP2Farewell(), position: .after(handler))
            return .http2(value)
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
