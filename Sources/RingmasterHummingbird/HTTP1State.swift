import NIOCore
import NIOHTTP1

/// An HTTP/1.1 connection's requests and answers: whether it is kept alive, when it is at rest, what an answer's head says
/// of it.
struct HTTP1State {
    private struct Request {
        var isOldVersion: Bool
        var isHead: Bool
        var keepsAlive: Bool
    }

    private enum Input: Equatable {
        case betweenRequests
        /// A head has come, and so many bytes of its body.
        case inRequest(bodyBytes: Int)
        /// Nothing is listened to any more.
        case stopped
    }

    private enum Output {
        case open
        /// An answer has begun behind which the connection is closed.
        case closing
        case closed
    }

    private let bodyBytesMax: Int
    private var input = Input.betweenRequests
    private var output = Output.open
    /// Requests that have not been answered to the end.
    private var unanswered = CircularBuffer<Request>(initialCapacity: 1)
    /// The worker leaves.
    private var isLeaving = false
    /// What the client is told when everything before has been answered.
    private var refusal: HTTPResponseStatus?

    init(bodyBytesMax: Int?) { self.bodyBytesMax = bodyBytesMax ?? .max }

    /// Whether the next thing to come is a request's head.
    var isBetweenRequests: Bool { input == .betweenRequests }
    /// Whether all that came has been answered.
    var isAnswered: Bool { unanswered.isEmpty }
    /// Whether nothing is to be answered, and the next thing to come is a request's head.
    var isAtRest: Bool { isBetweenRequests && isAnswered && output == .open }
    /// Whether it is our turn.
    var isAnswering: Bool {
        if case .inRequest = input { false } else { !unanswered.isEmpty }
    }

    // MARK: Requests

    /// What is to be done with a part of a request.
    enum InputAction: Equatable {
        case pass, drop
        case refuse(HTTPResponseStatus)
    }

    mutating func received(_ head: HTTPRequestHead) -> InputAction {
        guard input == .betweenRequests else { return .drop }
        let isOldVersion = head.version == .http1_0
        // RFC 9112, 3.2.
        let hosts = head.headers.hostCount
        guard hosts == 1 || isOldVersion && hosts == 0 else { return .refuse(.badRequest) }
        // RFC 9112, 6.1: of others one does not know where the body ends, and of HTTP/1.0 whether they were understood.
        let codings = head.headers.values("transfer-encoding").map { $0.lowercased() }
        guard codings.isEmpty || codings == ["chunked"] && !isOldVersion else {
            return .refuse(codings.last == "chunked" && !isOldVersion ? .notImplemented : .badRequest)
        }
        input = .inRequest(bodyBytes: 0)
        // Behind these NIO's decoder reads no more, in case another protocol follows.
        let asksForOther = head.method == .CONNECT || head.headers.contains(name: "upgrade")
        unanswered.append(
            Request(
                isOldVersion: isOldVersion, isHead: head.method == .HEAD, keepsAlive: head.isKeepAlive && !asksForOther)
        )
        return .pass
    }

    mutating func receivedBody(_ count: Int) -> InputAction {
        guard case .inRequest(let before) = input else { return .drop }
        guard before + count <= bodyBytesMax else { return .refuse(.payloadTooLarge) }
        input = .inRequest(bodyBytes: before + count)
        return .pass
    }

    mutating func receivedEnd() -> InputAction {
        guard case .inRequest = input else { return .drop }
        let goesOn = output == .open && unanswered.last?.keepsAlive != false
        input = goesOn ? .betweenRequests : .stopped
        return .pass
    }

    /// What is to be done when nothing more is listened to.
    enum Refusal: Equatable {
        /// The client is told why, after or with what is to be answered.
        case tell
        /// The request was answered before its end had come, and a second answer would be taken for the next one's.
        case close
        /// Nothing was listened to already.
        case ignore
    }

    /// Nothing more is listened to.
    mutating func refuse(_ status: HTTPResponseStatus) -> Refusal {
        guard input != .stopped else { return .ignore }
        let isInRequest = input != .betweenRequests
        input = .stopped
        refusal = status
        guard isInRequest else { return .tell }
        guard !unanswered.isEmpty else {
            output = .closed
            return .close
        }
        // The one that cannot be read to its end.
        unanswered[unanswered.index(before: unanswered.endIndex)].keepsAlive = false
        return .tell
    }

    /// The worker leaves. Returns whether the connection is to be closed now.
    mutating func leave() -> Bool {
        isLeaving = true
        return isAtRest
    }

    // MARK: Answers

    /// Whether there is somebody to answer to.
    var isOpen: Bool { output != .closed }

    /// Puts an answer's head right. Returns whether it tells a refusal, and is none of the application's.
    @discardableResult
    mutating func answer(_ head: inout HTTPResponseHead) -> Bool {
        // 100 Continue and the like.
        guard head.status.code >= 200 || head.status == .switchingProtocols else { return false }
        guard let request = unanswered.first else {
            // Hummingbird tells that what came was no request.
            if let refusal { head.status = refusal }
            close(&head)
            return true
        }
        var isRefusal = false
        // Nor is this: what the application was reading was none.
        if let refusal, unanswered.count == 1, !request.keepsAlive, head.isParserAnswer {
            head.status = refusal
            isRefusal = true
        }
        let hasEnd = head.headers.contains(name: "content-length") || !head.status.mayHaveResponseBody
        // To HEAD as well: of an answer without a length NIO's encoder would end the chunks that there are not.
        let isOldVersion = request.isOldVersion || request.isHead && !hasEnd
        if isOldVersion { head.version = .http1_0 }
        let isLast = isLeaving && unanswered.count == 1
        if !request.keepsAlive || isLast || isOldVersion && !hasEnd
            || head.headers.values("connection").contains(where: { $0.lowercased() == "close" })
        {
            close(&head)
        } else if request.isOldVersion {
            head.headers.replaceOrAdd(name: "connection", value: "keep-alive")
        }
        return isRefusal
    }

    private mutating func close(_ head: inout HTTPResponseHead) {
        output = .closing
        head.headers.replaceOrAdd(name: "connection", value: "close")
        if isBetweenRequests { input = .stopped }
    }

    /// The end of an answer is written. Returns whether the output is to be closed behind it.
    mutating func answered() -> Bool {
        // It may have begun before its request was refused.
        let wasLast = unanswered.popFirst()?.keepsAlive == false
        guard output == .closing || wasLast else { return false }
        output = .closed
        input = .stopped
        unanswered.removeAll()
        return true
    }
}

extension HTTPResponseHead {
    /// Whether it may be Hummingbird's answer to what was no request.
    fileprivate var isParserAnswer: Bool {
        status == .badRequest && headers["content-length"] == ["0"] && headers["connection"] == ["close"]
    }
}

extension HTTPHeaders {
    /// A list's values. Most messages have none of those that are asked for, and to find so costs little.
    fileprivate func values(_ name: String) -> [Substring] {
        contains(name: name) ? self[canonicalForm: name] : []
    }

    /// How many hosts are named: nearly always there is one field with one.
    fileprivate var hostCount: Int {
        var count = 0
        for (name, value) in self where name.utf8.count == 4 && name.lowercased() == "host" {
            guard count == 0, value.utf8.contains(where: { $0 > 0x20 }), !value.utf8.contains(UInt8(ascii: ",")) else {
                return self[canonicalForm: "host"].count
            }
            count = 1
        }
        return count
    }
}

extension HTTPResponseStatus {
    fileprivate var mayHaveResponseBody: Bool { code != 204 && code != 304 }
}
