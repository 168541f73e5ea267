import HummingbirdCore
import HummingbirdHTTP2
import NIOCore
import NIOSSL

/// What connections speak: HTTP/1.1, or with TLS HTTP/2 and HTTP/1.1, or whatever a child channel of Hummingbird does.
///
/// It takes the place of Hummingbird's `HTTPServerBuilder`, of which nobody but its own server can make use.
public struct HTTPConnections: Sendable {
    /// Answers requests.
    public typealias Responder = HTTPChannelHandler.Responder

    let make: @Sendable (@escaping Responder) throws -> any ServerChildChannel
    /// Nil when whoever makes the connections sees to that.
    let limits: HTTPLimits?
    /// Whether connections between two requests can go on in another worker.
    let canMove: Bool

    /// Speaks what `make` says. Its connections do not move to other workers: what they have negotiated would be lost.
    public init(_ make: @escaping @Sendable (@escaping Responder) throws -> any ServerChildChannel) {
        self.init(limits: nil, canMove: false, make)
    }

    private init(
        limits: HTTPLimits?, canMove: Bool,
        _ make: @escaping @Sendable (@escaping Responder) throws -> any ServerChildChannel
    ) {
        self.make = make
        self.limits = limits
        self.canMove = canMove
    }

    /// HTTP/1.1 without TLS. Connections that are kept alive between two requests can go on in another worker.
    ///
    /// Of the configuration the idle timeout counts unless `limits` has one.
    ///
    /// - Parameter immediate: asked about each request that has no body before the application is, none of whose middleware
    ///   sees what it answers.
    public static func http1(
        _ configuration: HTTP1Channel.Configuration = .init(), limits: HTTPLimits = .init(),
        immediate: ImmediateResponder? = nil
    ) -> HTTPConnections {
        let limits = limits.completed(by: configuration)
        let date = HTTPDate()
        return HTTPConnections(limits: limits, canMove: true) { responder in
            HTTP1Connection(
                responder: responder, configuration: configuration, limits: limits, isSecure: false,
                immediate: immediate.map { ($0, date) })
        }
    }

    /// HTTP/1.1 over TLS.
    public static func tls(
        _ tls: TLSConfiguration, _ configuration: HTTP1Channel.Configuration = .init(), limits: HTTPLimits = .init()
    ) -> HTTPConnections {
        secure(tls, configuration, limits.completed(by: configuration)) { _ in nil }
    }

    /// HTTP/2 or HTTP/1.1 over TLS, as the client likes (ALPN).
    public static func http2(
        _ tls: TLSConfiguration, _ configuration: HTTP2ChannelConfiguration = .init(), limits: HTTPLimits = .init()
    ) -> HTTPConnections {
        let limits = limits.completed(by: configuration.streamConfiguration)
        var configuration = configuration
        configuration.idleTimeout = configuration.idleTimeout ?? limits.idleTimeout
        let handlers = configuration.streamConfiguration.additionalChannelHandlers
        let http1 = configuration.streamConfiguration
        configuration.streamConfiguration.additionalChannelHandlers = {
            [HTTP2Answers()] + (limits.bodyBytesMax.map { [HTTP2BodyLimit(limits, bytesMax: $0)] } ?? []) + handlers()
        }
        return secure(tls, http1, limits) { [configuration] responder in
            HTTP2Channel(responder: responder, configuration: configuration)
        }
    }

    private static func secure(
        _ tls: TLSConfiguration, _ configuration: HTTP1Channel.Configuration, _ limits: HTTPLimits,
        _ http2: @escaping @Sendable (@escaping Responder) -> HTTP2Channel?
    ) -> HTTPConnections {
        HTTPConnections(limits: limits, canMove: false) { responder in
            let http2 = http2(responder)
            var tls = tls
            tls.applicationProtocols = (http2 == nil ? [] : ["h2"]) + ["http/1.1"]
            return SecureConnection(
                tls: try NIOSSLContext(configuration: tls),
                http1: HTTP1Connection(
                    responder: responder, configuration: configuration, limits: limits, isSecure: true),
                http2: http2, handshakeTimeout: limits.headTimeout)
        }
    }
}

extension HTTPLimits {
    fileprivate func completed(by configuration: HTTP1Channel.Configuration) -> HTTPLimits {
        var limits = self
        limits.idleTimeout = idleTimeout ?? configuration.idleTimeout.map { .nanoseconds($0.nanoseconds) }
        return limits
    }
}
