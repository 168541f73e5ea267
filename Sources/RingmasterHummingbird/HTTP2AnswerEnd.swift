import NIOCore
import NIOHPACK
import NIOHTTP2

/// Ends a stream with the frame that completes its answer's body, where the length was promised: NIO's codec says the end
/// in a DATA frame of its own.
///
/// Over TLS that frame is a record of its own. Some clients, curl among them, have the body whole before they read it and
/// reset the stream, and NIO's handler closes a connection on which that has happened 200 times in 30 seconds.
///
/// Stands between NIO's HTTP/2 handler and the codec of a stream. What completes a body is held until its end is written;
/// that follows at once, and what comes instead of it lets the frame go. Loop thread, as every handler.
final class HTTP2AnswerEnd: ChannelOutboundHandler, RemovableChannelHandler {
    typealias OutboundIn = HTTP2Frame.FramePayload
    typealias OutboundOut = HTTP2Frame.FramePayload

    private enum Body {
        /// Nothing is held of a body whose length nobody has promised.
        case unbounded
        case awaited(bytes: Int)
        case complete(HTTP2Frame.FramePayload.Data, EventLoopPromise<Void>?)
    }

    private var body = Body.unbounded

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        switch (Self.unwrapOutboundIn(data), body) {
        case (.headers(let head), .unbounded) where !head.endStream:
            if let bytes = Self.promised(head.headers) { body = .awaited(bytes: bytes) }
        case (.data(let part), .awaited(let bytes)) where !part.endStream:
            let left = bytes - part.data.readableBytes
            // More than was promised is not this handler's affair.
            body = left > 0 ? .awaited(bytes: left) : left == 0 ? .complete(part, promise) : .unbounded
            if left == 0 { return }
        case (.data(let end), .complete(var part, let partPromise)) where end.endStream && end.data.readableBytes == 0:
            body = .unbounded
            part.endStream = true
            if let promise { partPromise?.futureResult.cascade(to: promise) }
            return context.write(Self.wrapOutboundOut(.data(part)), promise: partPromise ?? promise)
        default: release(context)
        }
        context.write(data, promise: promise)
    }

    func flush(context: ChannelHandlerContext) {
        if case .complete = body { return }
        context.flush()
    }

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        if mode != .input, release(context) { context.flush() }
        context.close(mode: mode, promise: promise)
    }

    func handlerRemoved(context: ChannelHandlerContext) { release(context) }

    @discardableResult private func release(_ context: ChannelHandlerContext) -> Bool {
        defer { body = .unbounded }
        guard case .complete(let part, let promise) = body else { return false }
        context.write(Self.wrapOutboundOut(.data(part)), promise: promise)
        return true
    }

    /// Bytes of the body, by the content-length; nil without one, and of a body without bytes.
    private static func promised(_ headers: HPACKHeaders) -> Int? {
        guard let bytes = headers.first(name: "content-length").flatMap({ Int($0) }), bytes > 0 else { return nil }
        return bytes
    }
}
