import NIOCore
import NIOHTTP2

/// Tells an HTTP/2 connection that the worker leaves, and not its streams: of those, each would close that has not heard of
/// its request yet. Stands in front of NIO's HTTP/2 handler, which would tell them.
final class StreamShield: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = NIOAny

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard event is ChannelShouldQuiesceEvent,
            let http2 = try? context.pipeline.syncOperations.context(handlerType: NIOHTTP2Handler.self)
        else { return context.fireUserInboundEventTriggered(event) }
        // To those behind it.
        http2.fireUserInboundEventTriggered(event)
    }
}

/// Makes known that an HTTP/2 connection is to end, before it begins to end (RFC 9113, 6.8): GOAWAY with the highest stream
/// there can be, and PING. When that is acknowledged all streams are here that the client began before it knew, and
/// Hummingbird's connection manager, next in the pipeline, may have its way.
///
/// It says GOAWAY itself, but NIO's HTTP/2 handler takes that to be the end as soon as no stream is open, and refuses
/// streams that the client had every right to begin. So these frames go past it. Loop thread, as every handler.
///
/// When the last stream has ended the manager closes the connection from within the writing of that stream's last frames,
/// and they would come behind TLS' end. So that waits until they are written, and is an end of the output alone: what has
/// not been sent yet still is.
final class HTTP2Farewell: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTP2Frame
    typealias InboundOut = HTTP2Frame
    typealias OutboundIn = HTTP2Frame
    typealias OutboundOut = HTTP2Frame

    private enum State {
        case serving
        /// The client is being told.
        case announced
        /// The manager has been told.
        case leaving
        /// The manager has closed.
        case closing
    }

    /// How long a client may take to acknowledge.
    private static let patience: TimeAmount = .seconds(1)
    private static let number: UInt64 = 0x52_69_6e_67_6d_61_73_74
    private static let ping = HTTP2PingData(withInteger: number)

    private var state = State.serving
    private var timer: Scheduled<Void>?

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard event is ChannelShouldQuiesceEvent else { return context.fireUserInboundEventTriggered(event) }
        announce(context)
    }

    func announce(_ context: ChannelHandlerContext) {
        guard case .serving = state,
            let http2 = try? context.pipeline.syncOperations.context(handlerType: NIOHTTP2Handler.self)
        else { return }
        state = .announced
        http2.writeAndFlush(NIOAny(Self.frames), promise: nil)
        timer = context.eventLoop.assumeIsolatedUnsafeUnchecked().scheduleTask(in: Self.patience) { [self] in
            leave(context)
        }
    }

    private static var frames: ByteBuffer {
        var buffer = ByteBuffer()
        // Length (24 bits), type, flags, stream: GOAWAY, PING (RFC 9113, 4.1, 6.7, 6.8).
        buffer.writeBytes([0, 0, 8, 7, 0])
        buffer.writeInteger(UInt32(0))
        buffer.writeInteger(UInt32(Int32.max))
        buffer.writeInteger(UInt32(0))
        buffer.writeBytes([0, 0, 8, 6, 0])
        buffer.writeInteger(UInt32(0))
        buffer.writeInteger(number)
        return buffer
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        context.fireChannelRead(data)
        if case .ping(Self.ping, ack: true) = Self.unwrapInboundIn(data).payload { leave(context) }
    }

    private func leave(_ context: ChannelHandlerContext) {
        guard case .announced = state else { return }
        state = .leaving
        timer?.cancel()
        context.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
    }

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        guard case .leaving = state, mode == .all else { return context.close(mode: mode, promise: promise) }
        state = .closing
        context.channel.closeFuture.cascade(to: promise)
        context.eventLoop.assumeIsolatedUnsafeUnchecked().execute { context.close(mode: .output, promise: nil) }
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let edge = try? context.pipeline.syncOperations.handler(type: ConnectionEdge.self)
        if edge?.isLeaving == true { announce(context) }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        state = .closing
        timer?.cancel()
    }
}
