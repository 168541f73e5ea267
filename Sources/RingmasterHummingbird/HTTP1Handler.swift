import NIOCore
import NIOHTTP1

/// Keeps the rules of an HTTP/1.1 connection, between the encoder and what answers requests.
///
/// What a client is refused for is told to Hummingbird as a parser's error, which it answers in its turn, with a status
/// that is put right here. Loop thread, as every handler.
final class HTTP1Handler: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    /// A connection that rests for so long is not busy.
    private static let restMin: TimeAmount = .milliseconds(250)

    private var state: HTTP1State
    private let edge: ConnectionEdge?
    private let refused: HTTPLimits.Refused?
    private let immediate: ImmediateAnswers?
    /// In front of the decoder and the encoder, and owns this.
    weak var watch: HeadWatch?
    private var context: ChannelHandlerContext?
    /// Parts of requests that have come.
    private(set) var partCount = 0
    /// Whether the last request had a body of known length, which ends with no certain bytes.
    private(set) var hadCountedBody = false

    init(_ limits: HTTPLimits, edge: ConnectionEdge?, immediate: ImmediateAnswers? = nil) {
        state = HTTP1State(bodyBytesMax: limits.bodyBytesMax)
        self.edge = edge
        self.immediate = immediate
        refused = limits.refused
    }

    var isBetweenRequests: Bool { state.isBetweenRequests }
    var isAnswered: Bool { state.isAnswered }
    var isAtRest: Bool { state.isAtRest }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        if edge?.isLeaving == true, state.leave() { closeIfItRests(context) }
    }

    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    // MARK: Requests

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        partCount += 1
        let action: HTTP1State.InputAction
        let part = Self.unwrapInboundIn(data)
        switch part {
        case .head(let head):
            hadCountedBody = false
            action = state.received(head)
        case .body(let bytes):
            hadCountedBody = true
            action = state.receivedBody(bytes.readableBytes)
        case .end:
            action = state.receivedEnd()
        }
        edge?.isAnswering = state.isAnswering
        switch action {
        case .pass: pass(part, data, context)
        case .drop: break
        case .refuse(let status): refuse(status)
        }
    }

    private func pass(_ part: HTTPServerRequestPart, _ data: NIOAny, _ context: ChannelHandlerContext) {
        guard let immediate else { return context.fireChannelRead(data) }
        switch immediate.received(part, context.channel) {
        case .hold: break
        case .answer(let answer): write(answer, by: immediate, context)
        case .pass(let head, let news):
            if news { context.fireChannelWritabilityChanged() }
            if let head { context.fireChannelRead(Self.wrapInboundOut(.head(head))) }
            context.fireChannelRead(data)
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        guard let immediate else { return context.fireChannelReadComplete() }
        let (hasWritten, hasPassed) = immediate.completed()
        // Answers to requests that came together are sent together.
        if hasWritten { watch?.flush() }
        if hasPassed { context.fireChannelReadComplete() }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        guard immediate?.isToBeTold(isWritable: context.channel.isWritable) ?? true else { return }
        context.fireChannelWritabilityChanged()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch error as? HTTPParserError {
        case .headerOverflow?: refuse(.requestHeaderFieldsTooLarge)
        // The parser's word for a line that ends without CR as well.
        case .invalidVersion?: refuse(watch?.hasBareLineFeed == true ? .badRequest : .httpVersionNotSupported)
        case .some: refuse(.badRequest)
        case nil: context.fireErrorCaught(error)
        }
    }

    /// Answers so when everything before has been answered, and closes.
    func refuse(_ status: HTTPResponseStatus) {
        switch state.refuse(status) {
        case .tell: context?.fireErrorCaught(HTTPParserError.unknown)
        case .close: context?.close(mode: .output, promise: nil)
        case .ignore: break
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is ChannelShouldQuiesceEvent, state.leave() { closeIfItRests(context) }
        context.fireUserInboundEventTriggered(event)
    }

    /// Not at once: the client of a busy connection rests for a moment only, and its next request would be lost. That one is
    /// answered, and the answer says that it is the last.
    private func closeIfItRests(_ context: ChannelHandlerContext) {
        context.eventLoop.assumeIsolatedUnsafeUnchecked().scheduleTask(in: Self.restMin) { [self] in
            // It may have been closed meanwhile.
            if self.context != nil, state.isAtRest { context.close(mode: .output, promise: nil) }
        }
    }

    // MARK: Answers

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        // Behind a connection's last answer.
        guard state.isOpen else { return promise?.fail(ChannelError.outputClosed) ?? () }
        switch Self.unwrapOutboundIn(data) {
        case .head(var head):
            if state.answer(&head) { refused?(Int(head.status.code), context.remoteAddress) }
            context.write(Self.wrapOutboundOut(.head(head)), promise: promise)
        case .body:
            context.write(data, promise: promise)
        case .end:
            immediate?.applicationAnswered()
            let closes = state.answered()
            edge?.isAnswering = state.isAnswering
            context.write(data, promise: promise)
            ended(closes: closes, context)
        }
    }

    /// An answer's end is written.
    private func ended(closes: Bool, _ context: ChannelHandlerContext) {
        guard closes else { return watch?.answered() ?? () }
        context.flush()
        context.close(mode: .output, promise: nil)
    }

    /// Past the encoder: all of it is known.
    private func write(_ answer: ImmediateAnswer, by immediate: ImmediateAnswers, _ context: ChannelHandlerContext) {
        guard state.isOpen, let watch else { return answer.whenSent?() ?? () }
        var answer = answer
        if state.answer(&answer.head) { refused?(Int(answer.head.status.code), context.remoteAddress) }
        let closes = state.answered()
        edge?.isAnswering = state.isAnswering
        immediate.write(answer, to: watch, context.channel)
        ended(closes: closes, context)
    }
}

/// Watches the bytes in front of the decoder, which holds parts of heads: how long it takes for one to be complete, how many
/// bytes it has, and whether there is one at all.
///
/// Loop thread, as every handler.
final class HeadWatch: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    /// A head, and a body in chunks, end with an empty line.
    private static let end: UInt32 = 0x0d0a_0d0a

    private let requests: HTTP1Handler
    private let timeout: TimeAmount?
    private let bytesMax: Int
    /// The last bytes, as many as make an empty line; zeros before there were so many.
    private var tail: UInt32 = 0
    private var hasReceived = false
    /// Bytes of a head that is not complete; 0 when there is none, or none that one could know of.
    private var headBytes = 0
    private var timer: Scheduled<Void>?
    private var context: ChannelHandlerContext?
    /// What is being decoded.
    private var current: ByteBuffer?

    init(_ requests: HTTP1Handler, _ limits: HTTPLimits) {
        self.requests = requests
        timeout = limits.headTimeout.map(TimeAmount.duration)
        bytesMax = limits.headBytesMax
        requests.watch = self
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    /// Whether the decoder is known to hold no part of a message. Bytes that end with an empty line and are the beginning of
    /// another message would be a whole head, and so a request. After a body of known length one cannot know.
    var isClear: Bool { !hasReceived || headBytes == 0 && tail == Self.end }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let buffer = Self.unwrapInboundIn(data)
        let before = requests.partCount
        current = buffer
        context.fireChannelRead(data)
        current = nil
        guard buffer.readableBytes > 0 else { return }
        hasReceived = true
        buffer.withUnsafeReadableBytes { bytes in
            for byte in bytes.suffix(MemoryLayout<UInt32>.size) { tail = tail << 8 | UInt32(byte) }
        }
        let hasBegun = requests.partCount != before
        switch hasBegun {
        case _ where !requests.isBetweenRequests: headBytes = 0
        // How many of these bytes are the head's is not known: one receive's more are allowed.
        case true: headBytes = tail == Self.end || requests.hadCountedBody ? 0 : 1
        case false: headBytes += buffer.readableBytes
        }
        watch()
    }

    private func watch() {
        guard headBytes > 0 else { return stop() }
        if headBytes > bytesMax { return requests.refuse(.requestHeaderFieldsTooLarge) }
        // As long as something is to be answered it may be us who do not read.
        guard requests.isAnswered else { return stop() }
        guard timer == nil, let timeout, let context else { return }
        timer = context.eventLoop.assumeIsolatedUnsafeUnchecked().scheduleTask(in: timeout) { [self] in
            requests.refuse(.requestTimeout)
        }
    }

    /// An answer is written, and the connection goes on.
    func answered() { watch() }

    /// Writes what needs no encoder.
    func write(_ data: IOData, promise: EventLoopPromise<Void>?) {
        guard let context else { return promise?.fail(ChannelError.ioOnClosedChannel) ?? () }
        context.write(NIOAny(data), promise: promise)
    }

    func flush() { context?.flush() }

    /// Whether one of the lines that are being decoded ends without CR.
    var hasBareLineFeed: Bool {
        guard let current else { return false }
        var before = UInt8(truncatingIfNeeded: tail)
        for byte in current.readableBytesView {
            if byte == UInt8(ascii: "\n"), before != UInt8(ascii: "\r") { return true }
            before = byte
        }
        return false
    }

    private func stop() {
        timer?.cancel()
        timer = nil
    }

    func channelInactive(context: ChannelHandlerContext) {
        stop()
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        stop()
        self.context = nil
    }
}
