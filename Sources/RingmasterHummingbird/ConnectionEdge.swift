import Glibc
import NIOCore
import Transport

/// The handler nearest to the socket, whatever is spoken: ends connections on which nothing passes, and ends those that are
/// finished without losing the answer.
///
/// A socket that is closed while the client still sends makes the kernel send RST, which may overtake what the client has
/// not read yet. So when the output has been closed, what comes is read and dropped until the client has finished too, or
/// for so long and so many bytes.
///
/// An answer that its client does not read is broken off with RST: FIN would say that this is all of it.
///
/// Loop thread, as every handler.
final class ConnectionEdge: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = IOData
    typealias OutboundOut = IOData

    private enum State {
        case open
        /// The output is being closed, or is when all of it has been sent; so many bytes have been dropped.
        case lingering(dropped: Int, hasSent: Bool)
        case closed
    }

    private static let lingeringMax: TimeAmount = .seconds(2)
    private static let droppedBytesMax = 16 * 1024 * 1024

    private let idleTimeout: TimeAmount?
    private var state = State.open
    private var timer: Scheduled<Void>?
    private var passed = NIODeadline.distantPast
    /// Bytes that the client had not acknowledged when nothing had passed for as long as is allowed; nil when something has
    /// passed since. The kernel takes more of them in large steps only, so what it still holds is asked for.
    private var unsentBytes: Int?
    /// A request is being answered: what does not pass is not the client's fault, unless it leaves bytes unread.
    var isAnswering = false
    /// The worker leaves: for those who come into the pipeline when they have missed the event.
    private(set) var isLeaving = false

    init(idleTimeout: Duration?) {
        self.idleTimeout = idleTimeout.map(TimeAmount.duration)
    }

    // MARK: Life

    func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { begin(context) }
    }

    func channelActive(context: ChannelHandlerContext) {
        begin(context)
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        end()
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) { end() }

    private func begin(_ context: ChannelHandlerContext) {
        guard let idleTimeout, timer == nil else { return }
        passed = .now()
        schedule(context, in: idleTimeout)
    }

    private func end() {
        state = .closed
        timer?.cancel()
        timer = nil
    }

    private func schedule(_ context: ChannelHandlerContext, in amount: TimeAmount) {
        timer = context.eventLoop.assumeIsolatedUnsafeUnchecked().scheduleTask(in: amount) { [self] in
            timer = nil
            timeIsUp(context)
        }
    }

    private func timeIsUp(_ context: ChannelHandlerContext) {
        switch state {
        // An answer's end may take its time as the rest does.
        case .open, .lingering(_, hasSent: false): break
        case .lingering(_, hasSent: true): return context.close(promise: nil)
        case .closed: return
        }
        guard let idleTimeout else { return }
        let idle = NIODeadline.now() - passed
        if idle < idleTimeout {
            unsentBytes = nil
            return schedule(context, in: idleTimeout - idle)
        }
        let (before, now) = (unsentBytes, Self.unsentBytes(of: context.channel))
        unsentBytes = now
        switch (now, state) {
        case (0, .open) where isAnswering: schedule(context, in: idleTimeout)
        // Through the pipeline: TLS has its say.
        case (0, .open): context.channel.close(promise: nil)
        case (0, _): context.close(promise: nil)
        case (before, _): breakOff(context)
        default: schedule(context, in: idleTimeout)
        }
    }

    /// Bytes that are still in the channel, and those in the socket that the peer has not acknowledged (SIOCOUTQ, tcp(7)) or,
    /// of a Unix-domain socket, not read.
    private static func unsentBytes(of channel: any NIOCore.Channel) -> Int {
        let buffered = (try? channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
        let queued = try? channel.pipeline.syncOperations.withUnsafeTransportIfAvailable {
            (socket: NIOBSDSocket.Handle) in
            var count: CInt = 0
            // SIOCOUTQ by its other name.
            return ioctl(socket, UInt(TIOCOUTQ), &count) == 0 ? Int(count) : 0
        }
        return buffered + (queued ?? 0)
    }

    private func breakOff(_ context: ChannelHandlerContext) {
        _ = try? context.channel.pipeline.syncOperations.withUnsafeTransportIfAvailable {
            (socket: NIOBSDSocket.Handle) in Socket.disconnect(socket)
        }
        context.close(promise: nil)
    }

    // MARK: What passes

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard case .lingering(let dropped, let hasSent) = state else {
            if idleTimeout != nil { passed = .now() }
            return context.fireChannelRead(data)
        }
        let count = dropped + Self.unwrapInboundIn(data).readableBytes
        state = .lingering(dropped: count, hasSent: hasSent)
        if count > Self.droppedBytesMax { context.close(promise: nil) }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        context.fireChannelReadComplete()
        // Those behind ask for no more than they can take.
        if case .lingering = state { context.read() }
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        if idleTimeout != nil { passed = .now() }
        context.write(data, promise: promise)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is ChannelShouldQuiesceEvent { isLeaving = true }
        context.fireUserInboundEventTriggered(event)
    }

    // MARK: Closing

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        switch (mode, state) {
        case (.output, .open): linger(context, promise)
        case (.output, .lingering): promise?.succeed(())
        case (.all, .lingering): context.channel.closeFuture.cascade(to: promise)
        default: context.close(mode: mode, promise: promise)
        }
    }

    private func linger(_ context: ChannelHandlerContext, _ promise: EventLoopPromise<Void>?) {
        state = .lingering(dropped: 0, hasSent: false)
        let closed = promise ?? context.eventLoop.makePromise()
        closed.futureResult.assumeIsolatedUnsafeUnchecked().whenComplete { [self] result in
            guard case .lingering(let dropped, _) = state else { return }
            if case .failure = result { return context.close(promise: nil) }
            state = .lingering(dropped: dropped, hasSent: true)
            timer?.cancel()
            schedule(context, in: Self.lingeringMax)
        }
        context.close(mode: .output, promise: closed)
        context.read()
    }
}
