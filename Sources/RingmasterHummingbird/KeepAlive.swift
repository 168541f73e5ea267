import HTTPTypes
import NIOCore
import NIOHTTPTypes
import RingmasterNIO

/// Counts the requests of an HTTP/1.1 connection that have begun and not been answered.
///
/// Loop thread, as every handler.
final class RequestCounter: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    private var unanswered = 0
    private var isReading = false

    /// Whether the next thing to come is a request's head.
    var isBetweenRequests: Bool { unanswered == 0 && !isReading }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch Self.unwrapInboundIn(data) {
        case .head:
            unanswered += 1
            isReading = true
        case .body:
            break
        case .end:
            isReading = false
        }
        context.fireChannelRead(data)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        if case .end = Self.unwrapOutboundIn(data) { unanswered -= 1 }
        context.write(data, promise: promise)
    }
}

/// Knows whether the bytes received so far end with a whole message, so that the decoder behind it holds no part of one.
///
/// A head, and a body in chunks, end with an empty line. Bytes that end so and are the beginning of another message would be
/// a whole head, and so another request that is counted. After a body of known length it is not known, and the
/// connection stays where it is until the next request.
final class MessageBoundary: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private static let end: [UInt8] = Array("\r\n\r\n".utf8)
    /// The last bytes, as many as make an empty line.
    private var tail: [UInt8] = []
    private var hasReceived = false

    var isKnown: Bool { !hasReceived || tail == Self.end }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = Self.unwrapInboundIn(data).readableBytesView
        if !bytes.isEmpty {
            hasReceived = true
            tail = Array((tail + bytes.suffix(Self.end.count)).suffix(Self.end.count))
        }
        context.fireChannelRead(data)
    }
}

extension HTTPConnections {
    /// Whether a connection is between two requests, with nothing of the next one taken from it.
    static func isIdle(_ channel: any Channel) -> Bool {
        let handlers = channel.pipeline.syncOperations
        guard let requests = try? handlers.handler(type: RequestCounter.self),
            let boundary = try? handlers.handler(type: MessageBoundary.self)
        else { return false }
        return requests.isBetweenRequests && boundary.isKnown
    }
}
