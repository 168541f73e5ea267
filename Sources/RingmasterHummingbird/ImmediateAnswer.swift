import NIOCore
import NIOHTTP1

/// What answers a request of HTTP/1.1 at once, on the connection's thread, or leaves it to the application with nil.
///
/// It is asked about requests without a body whose turn it is, and called on the loop's thread: it must not block.
public typealias ImmediateResponder = @Sendable (HTTPRequestHead, any Channel) -> ImmediateAnswer?

/// A whole answer that needs no task, no stream and no waiting.
public struct ImmediateAnswer {
    /// `Date` is added, and `Content-Length` if it has none, but for HEAD.
    public var head: HTTPResponseHead
    /// Nil: none. Left out where there must be none: for HEAD, 204 and 304.
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
    /// Whether nothing is to be answered by the application.
    var isFree: Bool { if case .application = state { false } else { true } }
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

/// Gives immediate answers, before the application is told of a request. Loop thread.
final class ImmediateAnswers {
    /// What becomes of a part of a request.
    enum Action {
        /// It is held back.
        case hold
        case answer(ImmediateAnswer)
        /// It is the application's, and so is, before it, the head that was held back. `news`: before both, whether the
        /// channel is writable.
        case pass(HTTPRequestHead?, news: Bool)
    }

    /// A body of so many bytes at most is written in one piece with its head.
    private static let joinedMax = 4096

    private let responder: ImmediateResponder
    private let date: HTTPDate
    private var turn = ImmediateTurn()
    /// What the application was told of the channel.
    private var toldWritable = true
    /// Since the last burst of reads has ended: whether there are answers that are not flushed, and parts that were passed on.
    private var burst = (hasWritten: false, hasPassed: false)

    init(_ responder: @escaping ImmediateResponder, _ date: HTTPDate) {
        self.responder = responder
        self.date = date
    }

    func received(_ part: HTTPServerRequestPart, _ channel: any Channel) -> Action {
        switch part {
        case .head(let head): turn.received(head) ? .hold : pass(nil, channel)
        case .body: pass(turn.receivedBody(), channel)
        case .end: receivedEnd(channel)
        }
    }

    private func receivedEnd(_ channel: any Channel) -> Action {
        guard let head = turn.receivedEnd() else { return pass(nil, channel) }
        if turn.mayAnswer(isWritable: channel.isWritable), let answer = responder(head, channel) {
            return .answer(answer.framed(for: head.method))
        }
        turn.passOn()
        return pass(head, channel)
    }

    private func pass(_ head: HTTPRequestHead?, _ channel: any Channel) -> Action {
        burst.hasPassed = true
        let isWritable = channel.isWritable
        defer { toldWritable = isWritable }
        return .pass(head, news: toldWritable != isWritable)
    }

    func applicationAnswered() { turn.applicationAnswered() }

    /// Whether the application is to be told that the channel is writable, or not: while it has nothing to write it need not
    /// know that it could not, and who was told so is told the end of it.
    func isToBeTold(isWritable: Bool) -> Bool {
        guard isWritable != toldWritable, isWritable || !turn.isFree else { return false }
        toldWritable = isWritable
        return true
    }

    /// A burst of reads has ended.
    func completed() -> (hasWritten: Bool, hasPassed: Bool) {
        defer { burst = (false, false) }
        return burst
    }

    func write(_ answer: ImmediateAnswer, to watch: HeadWatch, _ channel: any Channel) {
        burst.hasWritten = true
        let promise = answer.whenSent.map { whenSent in
            let promise = channel.eventLoop.makePromise(of: Void.self)
            promise.futureResult.assumeIsolatedUnsafeUnchecked().whenComplete { _ in whenSent() }
            return promise
        }
        let count = answer.body?.readableBytes ?? 0
        var bytes = channel.allocator.buffer(capacity: answer.head.sizeGuess + (count <= Self.joinedMax ? count : 0))
        answer.head.write(date: date.now, to: &bytes)
        switch answer.body {
        case .byteBuffer(var body)? where count <= Self.joinedMax:
            bytes.writeBuffer(&body)
            watch.write(.byteBuffer(bytes), promise: promise)
        case let body?:
            watch.write(.byteBuffer(bytes), promise: nil)
            watch.write(body, promise: promise)
        case nil:
            watch.write(.byteBuffer(bytes), promise: promise)
        }
    }
}

extension ImmediateAnswer {
    /// With what tells the client where the body ends (RFC 9112, 6.3).
    fileprivate func framed(for method: HTTPMethod) -> ImmediateAnswer {
        var answer = self
        let mayHaveBody = head.status.mayHaveResponseBody
        // Whatever came behind the head would be taken for the next answer.
        if !mayHaveBody || method == .HEAD { answer.body = nil }
        let hasLength = head.headers.contains(name: "content-length")
        if hasLength, !mayHaveBody {
            answer.head.headers.remove(name: "content-length")
        } else if !hasLength, mayHaveBody, method != .HEAD {
            answer.head.headers.add(name: "Content-Length", value: String(body?.readableBytes ?? 0))
        }
        return answer
    }
}

extension HTTPResponseHead {
    /// Bytes, about: the names and values of most answers take no more.
    fileprivate var sizeGuess: Int { 96 + headers.count * 40 }

    fileprivate func write(date: String, to buffer: inout ByteBuffer) {
        if version == .http1_1, status == .ok {
            buffer.writeStaticString("HTTP/1.1 200 OK\r\n")
        } else {
            buffer.writeString("\(version) \(status.code) \(status.reasonPhrase)\r\n")
        }
        for (name, value) in headers { Self.write(name, value, to: &buffer) }
        Self.write("Date", date, to: &buffer)
        buffer.writeStaticString("\r\n")
    }

    private static func write(_ name: String, _ value: String, to buffer: inout ByteBuffer) {
        buffer.writeString(name)
        buffer.writeStaticString(": ")
        buffer.writeString(value)
        buffer.writeStaticString("\r\n")
    }
}
