import NIOCore

/// What a client may take its time for, and how much of it there may be.
public struct HTTPLimits: Sendable {
    /// A request's head is to be complete so long after its first byte, and a TLS handshake after the connection's begin; nil:
    /// no limit. With HTTP/1.1 the client is told (408).
    public var headTimeout: Duration?
    /// A connection on which nothing has passed for so long is closed; nil: never. With HTTP/1.1 an answer that is being made
    /// may take longer; with HTTP/2 nobody knows of it here.
    public var idleTimeout: Duration?
    /// Bytes of a request's head at most, of HTTP/1.1: above it the client is told (431). NIO's HTTP/2 takes 16 KiB and ends the
    /// connection above that.
    public var headBytesMax = 80 * 1024
    /// Bytes of a request's body at most: above it the client is told (413), unless the request is being answered; behind the
    /// answer the connection is closed, or with HTTP/2 the stream. nil: no limit.
    public var bodyBytesMax: Int?
    /// Called with the status and the client's address for each answer that no responder has given: 400, 408, 413, 431, 501,
    /// 505. On the connection's loop.
    public var refused: Refused?

    /// As ``refused`` has it.
    public typealias Refused = @Sendable (_ status: Int, _ client: SocketAddress?) -> Void

    /// Without timeouts.
    public init() {}
}

extension TimeAmount {
    static func duration(_ duration: Duration) -> TimeAmount {
        let (seconds, attoseconds) = duration.components
        return .seconds(seconds) + .nanoseconds(attoseconds / 1_000_000_000)
    }
}
