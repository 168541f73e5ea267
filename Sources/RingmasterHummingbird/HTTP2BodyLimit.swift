import HTTPTypes
import NIOCore
import NIOHTTPTypes
import NIOHTTPTypesHTTP2

/// Bounds a request's body on a stream of HTTP/2, whatever its Content-Length says.
///
/// Above the limit a request is answered with 413, unless it is being answered: then that answer is the one, and those who
/// read the body hear of the error. Behind the answer the stream is reset with NO_ERROR, which asks the client to send no
/// more (RFC 9113, 8.1). Stands next to the codec. Loop thread, as every handler.
final class HTTP2BodyLimit: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    /// What those are told who read a body that has too many bytes.
    struct TooLarge: Error {}

    private enum Answer {
        case none, begun
        /// Its end is written, but may wait for the client to make room.
        case ending
        case sent
        /// It was 413, which the application does not know.
        case refusal
    }

    private let bytesMax: Int
    private let refused: HTTPLimits.Refused?
    private var bytes = 0
    private var answer = Answer.none

    init(_ limits: HTTPLimits, bytesMax: Int) {
        self.bytesMax = bytesMax
        refused = limits.refused
    }

    private var isTooLarge: Bool { bytes > bytesMax }

    // MARK: The request

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        // What follows is not listened to, not even an end: the body was not whole.
        if isTooLarge { return }
        if case .body(let buffer) = Self.unwrapInboundIn(data) { bytes += buffer.readableBytes }
        if isTooLarge { refuse(context) } else { context.fireChannelRead(data) }
    }

    private func refuse(_ context: ChannelHandlerContext) {
        switch answer {
        case .none:
            answer = .refusal
            refused?(HTTPResponse.Status.contentTooLarge.code, context.channel.parent?.remoteAddress)
            let head = HTTPResponse(status: .contentTooLarge, headerFields: [.contentLength: "0"])
            context.write(Self.wrapOutboundOut(.head(head)), promise: nil)
            context.writeAndFlush(Self.wrapOutboundOut(.end(nil)), promise: resetting(context))
        case .begun, .ending:
            context.fireErrorCaught(TooLarge())
        case .sent:
            reset(context)
        case .refusal:
            assertionFailure("a stream is refused once")
        }
    }

    // MARK: The answer

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        if case .refusal = answer { return promise?.fail(TooLarge()) ?? () }
        switch Self.unwrapOutboundIn(data) {
        case .head(let head):
            // 100 Continue and the like are none.
            if head.status.code >= 200 { answer = .begun }
            context.write(data, promise: promise)
        case .body:
            context.write(data, promise: promise)
        case .end:
            answer = .ending
            let sent = resetting(context)
            sent.futureResult.cascade(to: promise)
            context.write(data, promise: sent)
        }
    }

    /// A promise for the end of an answer, behind which the stream is reset if it is to be. Not sooner: the reset would
    /// overtake what waits for room.
    private func resetting(_ context: ChannelHandlerContext) -> EventLoopPromise<Void> {
        let promise = context.eventLoop.makePromise(of: Void.self)
        promise.futureResult.assumeIsolatedUnsafeUnchecked().whenSuccess { [self] in
            if case .ending = answer { answer = .sent }
            if isTooLarge { reset(context) }
        }
        return promise
    }

    /// Hummingbird closes a stream whose body it cannot read to its end, be the answer sent or not.
    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        guard isTooLarge, case .ending = answer else { return context.close(mode: mode, promise: promise) }
        context.channel.closeFuture.cascade(to: promise)
    }

    private func reset(_ context: ChannelHandlerContext) {
        guard context.channel.isActive else { return }
        context.triggerUserOutboundEvent(NIOHTTP2FramePayloadToHTTPEvent.reset(code: .noError), promise: nil)
    }
}
