import HTTPTypes
import NIOCore
import NIOHTTPTypes

/// Takes from answers what HTTP/2 forbids (RFC 9113, 8.2.2): what is said of a connection of HTTP/1.1. And sends together
/// what is made together: head, body and end, in as few frames as there can be (``HTTP2AnswerEnd``). Loop thread, as every
/// handler.
final class HTTP2Answers: ChannelOutboundHandler, RemovableChannelHandler {
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    private enum Sending {
        case atOnce
        /// Behind what the loop does now.
        case soon
    }

    private var sending = Sending.atOnce
    private var hasEnded = false

    func handlerAdded(context: ChannelHandlerContext) {
        // Of a pipeline that has just been made: it cannot fail.
        try? context.pipeline.syncOperations.addHandler(HTTP2AnswerEnd(), position: .first)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        switch Self.unwrapOutboundIn(data) {
        case .head(var head) where head.headerFields.contains(.connection):
            head.headerFields[.connection] = nil
            return context.write(Self.wrapOutboundOut(.head(head)), promise: promise)
        case .head, .body: break
        case .end: hasEnded = true
        }
        context.write(data, promise: promise)
    }

    func flush(context: ChannelHandlerContext) {
        if hasEnded { return send(context) }
        guard case .atOnce = sending else { return }
        sending = .soon
        context.eventLoop.assumeIsolatedUnsafeUnchecked().execute { [self] in
            if case .soon = sending { send(context) }
        }
    }

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        if case .soon = sending { send(context) }
        context.close(mode: mode, promise: promise)
    }

    private func send(_ context: ChannelHandlerContext) {
        sending = .atOnce
        context.flush()
    }

    func handlerRemoved(context: ChannelHandlerContext) { sending = .atOnce }
}
