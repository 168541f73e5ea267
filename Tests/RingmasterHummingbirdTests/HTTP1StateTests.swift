import NIOHTTP1
import Testing

@testable import RingmasterHummingbird

@Suite("HTTP/1.1: state of a connection")
struct HTTP1StateTests {
    /// A connection whose requests come and are answered at once.
    private struct Connection {
        var state: HTTP1State

        init(bodyBytesMax: Int? = nil) { state = HTTP1State(bodyBytesMax: bodyBytesMax) }

        mutating func request(
            _ method: HTTPMethod = .GET, _ version: HTTPVersion = .http1_1, _ headers: HTTPHeaders = ["host": "a"]
        ) -> [HTTP1State.InputAction] {
            [
                state.received(HTTPRequestHead(version: version, method: method, uri: "/", headers: headers)),
                state.receivedEnd(),
            ]
        }

        /// The head as it is sent, and whether the connection's output is closed behind the answer.
        mutating func answer(
            _ status: HTTPResponseStatus = .ok, _ headers: HTTPHeaders = ["content-length": "0"]
        ) -> (head: HTTPResponseHead, closes: Bool) {
            var head = HTTPResponseHead(version: .http1_1, status: status, headers: headers)
            state.answer(&head)
            return (head, state.answered())
        }
    }

    @Test("a connection of HTTP/1.1 goes on, and is at rest between requests")
    func keptAlive() {
        var connection = Connection()
        #expect(connection.state.isAtRest)
        for _ in 0..<3 {
            #expect(connection.request() == [.pass, .pass])
            #expect(!connection.state.isAtRest && connection.state.isAnswering)
            let answer = connection.answer()
            #expect(!answer.closes && answer.head.headers["connection"].isEmpty)
            #expect(connection.state.isAtRest && connection.state.isOpen && !connection.state.isAnswering)
        }
    }

    @Test("requests that came before the first was answered are answered in turn")
    func pipelined() {
        var connection = Connection()
        for _ in 0..<3 { #expect(connection.request() == [.pass, .pass]) }
        for left in (0..<3).reversed() {
            let answer = connection.answer()
            #expect(!answer.closes)
            #expect(connection.state.isAtRest == (left == 0))
        }
    }

    @Test("the client's Connection: close is heeded, and nothing behind that request is listened to")
    func clientCloses() {
        var connection = Connection()
        #expect(connection.request(.GET, .http1_1, ["host": "a", "connection": "close"]) == [.pass, .pass])
        #expect(connection.request() == [.drop, .drop])
        let answer = connection.answer()
        #expect(answer.closes && answer.head.headers["connection"] == ["close"])
        #expect(!connection.state.isOpen && !connection.state.isAtRest)
    }

    @Test(
        "HTTP/1.0 closes unless it asks for more and the answer's end is known",
        arguments: [
            ([:], ["content-length": "1"], true), (["connection": "keep-alive"], ["content-length": "1"], false),
            (["connection": "keep-alive"], [:], true),
        ] as [(HTTPHeaders, HTTPHeaders, Bool)])
    func oldVersion(request: HTTPHeaders, answer: HTTPHeaders, closes: Bool) {
        var connection = Connection()
        #expect(connection.request(.GET, .http1_0, request) == [.pass, .pass])
        let sent = connection.answer(.ok, answer)
        #expect(sent.closes == closes)
        #expect(sent.head.version == .http1_0)
        #expect(sent.head.headers["connection"] == [closes ? "close" : "keep-alive"])
    }

    @Test(
        "a request without one Host is refused",
        arguments: [[:], ["host": "a", "Host": "b"]] as [HTTPHeaders])
    func hosts(headers: HTTPHeaders) {
        var connection = Connection()
        let actions = connection.request(.GET, .http1_1, headers)
        #expect(actions.first == .refuse(.badRequest))
    }

    @Test("a request that asks for another protocol is the last", arguments: [HTTPMethod.CONNECT, .GET])
    func otherProtocol(method: HTTPMethod) {
        var connection = Connection()
        let headers: HTTPHeaders = method == .GET ? ["host": "a", "upgrade": "h2c"] : ["host": "a"]
        #expect(connection.request(method, .http1_1, headers) == [.pass, .pass])
        let answer = connection.answer()
        #expect(answer.closes)
    }

    @Test("a body's limit counts all of its parts")
    func bodies() {
        var connection = Connection(bodyBytesMax: 10)
        _ = connection.state.received(
            HTTPRequestHead(version: .http1_1, method: .POST, uri: "/", headers: ["host": "a"]))
        #expect(connection.state.receivedBody(10) == .pass)
        #expect(connection.state.receivedBody(1) == .refuse(.payloadTooLarge))
        #expect(connection.state.refuse(.payloadTooLarge) == .tell)
        #expect(connection.state.receivedBody(1) == .drop)
        #expect(connection.state.receivedEnd() == .drop)
    }

    /// A connection with a request whose body has begun.
    private static func inRequest(_ connection: inout Connection) {
        let head = HTTPRequestHead(version: .http1_1, method: .POST, uri: "/", headers: ["host": "a"])
        #expect(connection.state.received(head) == .pass)
        #expect(connection.state.receivedBody(5) == .pass)
    }

    @Test("a request that is refused in its body has one answer: Hummingbird's, with the reason, or the application's")
    func refusedInBody() {
        var unread = Connection()
        Self.inRequest(&unread)
        #expect(unread.state.refuse(.payloadTooLarge) == .tell)
        let told = unread.answer(.badRequest, ["content-length": "0", "connection": "close"])
        #expect(told.head.status == .payloadTooLarge && told.closes && !unread.state.isOpen)

        var ignored = Connection()
        Self.inRequest(&ignored)
        #expect(ignored.state.refuse(.payloadTooLarge) == .tell)
        let own = ignored.answer(.ok)
        #expect(own.head.status == .ok && own.head.headers["connection"] == ["close"])
        #expect(own.closes && !ignored.state.isOpen)
    }

    @Test("a request that is refused in its body while it is answered, or when it has been, has no second answer")
    func refusedWhenAnswered() {
        var answering = Connection()
        Self.inRequest(&answering)
        var head = HTTPResponseHead(version: .http1_1, status: .ok, headers: ["content-length": "0"])
        answering.state.answer(&head)
        #expect(answering.state.refuse(.payloadTooLarge) == .tell)
        #expect(answering.state.answered() == true)
        #expect(!answering.state.isOpen)

        var answered = Connection()
        Self.inRequest(&answered)
        let answer = answered.answer()
        #expect(!answer.closes)
        #expect(answered.state.refuse(.payloadTooLarge) == .close)
        #expect(!answered.state.isOpen && !answered.state.isAtRest)
        #expect(answered.state.refuse(.badRequest) == .ignore)
    }

    @Test(
        "a body whose end one cannot know is refused",
        arguments: [
            (.http1_1, ["transfer-encoding": "xchunked"], .badRequest),
            (.http1_1, ["transfer-encoding": "chunked, gzip"], .badRequest),
            (.http1_1, ["transfer-encoding": "gzip, chunked"], .notImplemented),
            (.http1_1, ["transfer-encoding": "chunked", "Transfer-Encoding": "chunked"], .notImplemented),
            (.http1_0, ["transfer-encoding": "chunked"], .badRequest),
            (.http1_1, ["transfer-encoding": "Chunked"], nil),
        ] as [(HTTPVersion, HTTPHeaders, HTTPResponseStatus?)])
    func codings(version: HTTPVersion, headers: HTTPHeaders, status: HTTPResponseStatus?) {
        var headers = headers
        headers.add(name: "host", value: "a")
        var connection = Connection()
        let action = connection.state.received(
            HTTPRequestHead(version: version, method: .POST, uri: "/", headers: headers))
        #expect(action == status.map { .refuse($0) } ?? .pass)
    }

    @Test("HEAD: an answer of unknown length is not said to come in chunks, and is the last", arguments: [true, false])
    func head(hasLength: Bool) {
        var connection = Connection()
        #expect(connection.request(.HEAD) == [.pass, .pass])
        let answer = connection.answer(.ok, hasLength ? ["content-length": "5"] : [:])
        #expect(answer.head.version == (hasLength ? .http1_1 : .http1_0))
        #expect(answer.closes == !hasLength)
    }

    @Test("a refusal is told in its turn, once, and ends the connection")
    func refusal() {
        var connection = Connection()
        #expect(connection.request() == [.pass, .pass])
        #expect(connection.state.refuse(.requestTimeout) == .tell)
        #expect(connection.state.refuse(.badRequest) == .ignore)
        #expect(connection.request() == [.drop, .drop])
        // The application's answer to what came before.
        let first = connection.answer(.notFound)
        #expect(first.head.status == .notFound && !first.closes)
        // Hummingbird's, to what it was told was no request.
        let second = connection.answer(.badRequest)
        #expect(second.head.status == .requestTimeout && second.closes)
        #expect(second.head.headers["connection"] == ["close"])
        #expect(!connection.state.isOpen)
    }

    @Test("a worker that leaves closes a connection at rest, and else behind the last answer")
    func leaving() {
        var atRest = Connection()
        #expect(atRest.state.leave() == true)

        var busy = Connection()
        _ = busy.request()
        _ = busy.request()
        let closesNow = busy.state.leave()
        let first = busy.answer()
        #expect(!closesNow && !first.closes)
        let last = busy.answer()
        #expect(last.closes && last.head.headers["connection"] == ["close"])
        #expect(busy.request() == [.drop, .drop])
    }

    @Test("an application's Connection: close is heeded, while the request still comes too")
    func applicationCloses() {
        var connection = Connection()
        _ = connection.state.received(
            HTTPRequestHead(version: .http1_1, method: .POST, uri: "/", headers: ["host": "a"]))
        let answer = connection.answer(.ok, ["content-length": "0", "Connection": "Close"])
        #expect(answer.closes)
        #expect(connection.state.receivedBody(5) == .drop)
        #expect(connection.state.receivedEnd() == .drop)
        #expect(!connection.state.isAnswering)
    }

    @Test("what precedes an answer, such as 100 Continue, is not the answer")
    func informational() {
        var connection = Connection()
        _ = connection.request(.GET, .http1_1, ["host": "a", "connection": "close"])
        var head = HTTPResponseHead(version: .http1_1, status: .continue)
        connection.state.answer(&head)
        #expect(head.headers.isEmpty)
        let answer = connection.answer()
        #expect(answer.closes)
    }
}
