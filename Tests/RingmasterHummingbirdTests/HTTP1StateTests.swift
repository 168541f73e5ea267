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
        #expect(connection.state.refuse(.payloadTooLarge) == true)
        #expect(connection.state.receivedBody(1) == .drop)
        #expect(connection.state.receivedEnd() == .drop)
    }

    @Test("a refusal is told in its turn, once, and ends the connection")
    func refusal() {
        var connection = Connection()
        #expect(connection.request() == [.pass, .pass])
        #expect(connection.state.refuse(.requestTimeout) == true)
        let again = connection.state.refuse(.badRequest)
        #expect(!again)
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
