import NIOCore
import NIOHTTP1

/// What answers a request of HTTP/1.1 at once, on the connection's thread, or leaves it to the application with nil.
///
/// It is asked about requests without a body whose turn it is, and called on the loop's thread: it must not block.
public typealias ImmediateResponder = @Sendable (HTTPRequestHead, any Channel) -> ImmediateAnswer?

/// A whole answer that needs no task, no stream and no waiting.
public struct ImmediateAnswer {
    /// With the body's length, if that is not 0. `Date` is added.
    public var head: HTTPResponseHead
    /// Nil: none, as for HEAD.
    public var body: IOData?
    /// Called on the loop's thread when the body has been sent, or never will be. What the body stands on, such as an open
    /// file, may go then.
    public var whenSent: (() -> Void)?

    /// An answer as it is to be sent.
    public init(head: HTTPResponseHead, body: IOData? = nil, whenSent: (() -> Void)? = nil) {
        self.head = head
        self.body = body
        self.whenSent = whenSent
    }
}

/// Whose turn it is on a connection, so that answers keep the order of their requests.
struct ImmediateTurn {
    /// Answers that are given to a client which has not read those before: what it leaves unread is bounded by the
    /// application's writing, which waits.
    static let overdraftMax = 4

    private enum State {
        /// All that was passed on has been answered.
        case free
        /// A request has begun that may be answered at once.
        case held(HTTPRequestHead)
        /// So many requests that were passed on have not been answered.
        case application(unanswered: Int)
    }

    private var state = State.free
    /// Answers since the channel was writable last.
    private var overdraft = 0

    /// A request's head has come. Returns whether it is held back until the request's end.
    mutating func received(_ head: HTTPRequestHead) -> Bool {
        switch state {
        case .free where !head.announcesBody:
            state = .held(head)
            return true
        case .free, .held:
            state = .application(unanswered: 1)
        case .application(let unanswered):
            state = .application(unanswered: unanswered + 1)
        }
        return false
    }

    /// A part of a body has come. Returns the head that is to be passed on before it.
    mutating func receivedBody() -> HTTPRequestHead? {
        guard case .held(let head) = state else { return nil }
        state = .application(unanswered: 1)
        return head
    }

    /// A request's end has come. Returns the head that was held back.
    mutating func receivedEnd() -> HTTPRequestHead? {
        guard case .held(let head) = state else { return nil }
        state = .free
        return head
    }

    /// Whether there may be another answer at once.
    mutating func mayAnswer(isWritable: Bool) -> Bool {
        overdraft = isWritable ? 0 : overdraft + 1
        return overdraft <= Self.overdraftMax
    }

    /// The request whose end has come is the application's.
    mutating func passOn() { state = .application(unanswered: 1) }

    /// The application has written an answer's end. It writes one too for what was no request.
    mutating func applicationAnswered() {
        guard case .application(let unanswered) = state else { return }
        state = unanswered == 1 ? .free : .application(unanswered: unanswered - 1)
    }
}

extension HTTPRequestHead {
    fileprivate var announcesBody: Bool {
        headers.contains(name: "content-length") || headers.contains(name: "transfer-encoding")
    }
}

/// Gives immediate answers, in front of what hands requests to the application. Loop thread, as every handler.
final class ImmediateAnswers: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    private enum Written {
        case nothing
        /// Something that is not flushed.
        case something
    }

    private let responder: ImmediateResponder
    private let date: HTTPDate
    private var turn = ImmediateTurn()
    private var written = Written.nothing

    init(_ responder: @escaping ImmediateResponder, _ date: HTTPDate) {
        self.responder = responder
        self.date = date
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch Self.unwrapInboundIn(data) {
        case .head(let head):
            if turn.received(head) { return }
        case .body:
            if let head = turn.receivedBody() { context.fireChannelRead(Self.wrapInboundOut(.head(head))) }
        case .end:
            guard let head = turn.receivedEnd() else { break }
            if turn.mayAnswer(isWritable: context.channel.isWritable), let answer = responder(head, context.channel) {
                return write(answer, context)
            }
            turn.passOn()
            context.fireChannelRead(Self.wrapInboundOut(.head(head)))
        }
        context.fireChannelRead(data)
    }

    private func write(_ answer: ImmediateAnswer, _ context: ChannelHandlerContext) {
        var head = answer.head
        head.headers.add(name: "Date", value: date.now)
        context.write(Self.wrapOutboundOut(.head(head)), promise: nil)
        if let body = answer.body {
            let promise = answer.whenSent.map { whenSent in
                let promise = context.eventLoop.makePromise(of: Void.self)
                promise.futureResult.assumeIsolatedUnsafeUnchecked().whenComplete { _ in whenSent() }
                return promise
            }
            context.write(Self.wrapOutboundOut(.body(body)), promise: promise)
        } else {
            answer.whenSent?()
        }
        context.write(Self.wrapOutboundOut(.end(nil)), promise: nil)
        written = .something
    }

    /// Answers to requests that came together are sent together.
    func channelReadComplete(context: ChannelHandlerContext) {
        if written == .something {
            written = .nothing
            context.flush()
        }
        context.fireChannelReadComplete()
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        if case .end = Self.unwrapOutboundIn(data) { turn.applicationAnswered() }
        context.write(data, promise: promise)
    }
}
