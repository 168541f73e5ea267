import NIOHTTP1
import Testing

@testable import RingmasterHummingbird

@Suite("immediate answers: whose turn it is")
struct ImmediateTurnTests {
    private static func head(_ uri: String, _ headers: HTTPHeaders = [:]) -> HTTPRequestHead {
        HTTPRequestHead(version: .http1_1, method: .GET, uri: uri, headers: headers)
    }

    /// An expectation cannot change a struct.
    private final class Turn {
        private var turn = ImmediateTurn()

        func received(_ head: HTTPRequestHead) -> Bool { turn.received(head) }
        func receivedBody() -> String? { turn.receivedBody()?.uri }
        func receivedEnd() -> String? { turn.receivedEnd()?.uri }
        func mayAnswer(isWritable: Bool) -> Bool { turn.mayAnswer(isWritable: isWritable) }
        func passOn() { turn.passOn() }
        func applicationAnswered() { turn.applicationAnswered() }
    }

    private let turn = Turn()

    @Test("a request is held until its end, one after the other")
    func held() {
        for uri in ["/1", "/2"] {
            #expect(turn.received(Self.head(uri)))
            #expect(turn.receivedEnd() == uri)
            #expect(turn.mayAnswer(isWritable: true))
        }
        #expect(turn.receivedEnd() == nil)
    }

    @Test("a request that announces a body is the application's", arguments: ["Content-Length", "Transfer-Encoding"])
    func body(name: String) {
        #expect(!turn.received(Self.head("/", [name: "1"])))
        #expect(turn.receivedBody() == nil)
        #expect(turn.receivedEnd() == nil)
    }

    @Test("a body that nobody has announced is passed on behind its head")
    func suddenBody() {
        #expect(turn.received(Self.head("/")))
        #expect(turn.receivedBody() == "/")
        #expect(turn.receivedBody() == nil)
        #expect(turn.receivedEnd() == nil)
    }

    @Test("behind requests that the application has not answered, none is answered at once")
    func order() {
        #expect(turn.received(Self.head("/")))
        #expect(turn.receivedEnd() != nil)
        turn.passOn()
        for _ in 0..<2 {
            #expect(!turn.received(Self.head("/")))
            #expect(turn.receivedEnd() == nil)
        }
        for _ in 0..<2 { turn.applicationAnswered() }
        #expect(!turn.received(Self.head("/")), "two of four are answered")
        for _ in 0..<2 { turn.applicationAnswered() }
        #expect(turn.received(Self.head("/")))
    }

    @Test("the application's answer to what was no request changes nothing")
    func answerToNobody() {
        turn.applicationAnswered()
        #expect(turn.received(Self.head("/")))
    }

    @Test("a client that does not read gets a few answers more, and the rest from the application, which waits for it")
    func bounded() {
        for _ in 0..<10 { #expect(turn.mayAnswer(isWritable: true)) }
        for _ in 0..<ImmediateTurn.overdraftMax { #expect(turn.mayAnswer(isWritable: false)) }
        #expect(!turn.mayAnswer(isWritable: false))
        #expect(turn.mayAnswer(isWritable: true))
        #expect(turn.mayAnswer(isWritable: false))
    }
}
