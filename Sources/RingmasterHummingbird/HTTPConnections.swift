import HTTPTypes
import HummingbirdCore
import HummingbirdHTTP2
import HummingbirdTLS
import Logging
import NIOCore
import NIOHTTPTypes
import NIOSSL
import RingmasterNIO

/// What connections speak: HTTP/1.1, or with TLS HTTP/2 and HTTP/1.1, or whatever a child channel of Hummingbird does.
///
/// It takes the place of Hummingbird's `HTTPServerBuilder`, of which nobody but its own server can make use.
public struct HTTPConnections: Sendable {
    /// Answers requests.
    public typealias Responder = HTTPChannelHandler.Responder

    let make: @Sendable (@escaping Responder) throws -> any ServerChildChannel
    /// Whether connections between two requests can go on in another worker.
    let canMove: Bool

    /// Speaks what `make` says. Its connections do not move to other workers: what they have negotiated would be lost.
    public init(_ make: @escaping @Sendable (@escaping Responder) throws -> any ServerChildChannel) {
        self.init(canMove: false, make)
    }

    private init(canMove: Bool, _ make: @escaping @Sendable (@escaping Responder) throws -> any ServerChildChannel) {
        self.make = make
        self.canMove = canMove
    }

    /// HTTP/1.1 without TLS. Connections that are kept alive between two requests can go on in another worker.
    public static func http1(_ configuration: HTTP1Channel.Configuration = .init()) -> HTTPConnections {
        HTTPConnections(canMove: true) { responder in
            var configuration = configuration
            let handlers = configuration.additionalChannelHandlers
            configuration.additionalChannelHandlers = { [RequestCounter()] + handlers() }
            return HTTP1Channel(responder: responder, configuration: configuration)
        }
    }

    /// HTTP/1.1 over TLS.
    public static func tls(
        _ tls: TLSConfiguration, _ configuration: HTTP1Channel.Configuration = .init()
    ) -> HTTPConnections {
        HTTPConnections { responder in
            try TLSChannel(
                HTTP1Channel(responder: responder, configuration: configuration), tlsConfiguration: tls)
        }
    }

    /// HTTP/2 or HTTP/1.1 over TLS, as the client likes (ALPN).
    public static func http2(
        _ tls: TLSConfiguration, _ configuration: HTTP2ChannelConfiguration = .init()
    ) -> HTTPConnections {
        HTTPConnections { responder in
            try HTTP2UpgradeChannel(tlsConfiguration: tls, configuration: configuration, responder: responder)
        }
    }
}
