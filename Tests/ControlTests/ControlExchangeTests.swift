import Testing

@testable import Supervisor

@Suite("control socket: one exchange, one message")
struct ControlExchangeTests {
    @Test("a request may come byte by byte; what follows its line feed is dropped")
    func pieces() {
        var exchange = ControlExchange()
        for byte in "ask".utf8 {
            let progress = exchange.received([byte])
            #expect(progress == .incomplete)
        }
        let progress = exchange.received(Array("!\nmore".utf8))
        #expect(progress == .request(Array("ask!".utf8)))
    }

    @Test("a request of 4,096 bytes is taken, one byte more is not")
    func longest() {
        let longest = [UInt8](repeating: 32, count: 4096)
        var exchange = ControlExchange()
        var progress = exchange.received(longest)
        #expect(progress == .incomplete && exchange.room == 1)
        progress = exchange.received([10])
        #expect(progress == .request(longest))
        exchange = ControlExchange()
        progress = exchange.received(longest + [32])
        #expect(progress == .tooLong)
    }

    @Test("the end of what a client sends ends its request; without any it is gone")
    func end() {
        var exchange = ControlExchange()
        #expect(exchange.receivedEnd() == .gone)
        _ = exchange.received([1, 2])
        #expect(exchange.receivedEnd() == .request([1, 2]))
    }

    @Test("once it has asked, nothing more is taken; the answer goes out in whatever pieces")
    func answer() {
        var exchange = ControlExchange()
        exchange.wait(CommandID(7))
        #expect(exchange.room == 0 && exchange.phase == .waiting(CommandID(7)))
        exchange.answer([1, 2, 3])
        let isSent = exchange.sent(2)
        #expect(!isSent && exchange.phase == .answering([3]))
        let isAllSent = exchange.sent(1)
        #expect(isAllSent)
    }

    @Test(
        "each request has this form",
        arguments: [
            (ControlRequest.status, #"{"command":"status"}"#), (.reload, #"{"command":"reload"}"#),
            (.upgrade, #"{"command":"upgrade"}"#), (.scale(to: 4), #"{"command":"scale","to":4}"#),
            (.drain(slot: 0), #"{"command":"drain","slot":0}"#),
            (.stop(fast: true), #"{"command":"stop","fast":true}"#),
        ])
    func form(request: ControlRequest, text: String) throws {
        #expect(String(decoding: try ControlLine.encode(request), as: UTF8.self) == text + "\n")
        #expect(try ControlLine.decode(ControlRequest.self, from: Array(text.utf8)) == request)
    }

    @Test("keys that are not known are ignored, and a stop is graceful unless it says fast")
    func lenient() throws {
        let text = #"{"command": "stop", "color": "red"}"#
        #expect(try ControlLine.decode(ControlRequest.self, from: Array(text.utf8)) == .stop(fast: false))
    }

    @Test("an outcome has this form, and becomes this answer")
    func outcome() throws {
        for (outcome, result, ok) in [
            (CommandOutcome.done("a"), "done", true), (.refused("a"), "refused", false),
            (.failed("a"), "failed", false),
        ] {
            let text = #"{"message":"a","result":"\#(result)"}"#
            #expect(String(decoding: try ControlLine.encode(outcome), as: UTF8.self) == text + "\n")
            #expect(try ControlLine.decode(CommandOutcome.self, from: Array(text.utf8)) == outcome)
            #expect(ControlReply(outcome).ok == ok && ControlReply(outcome).message == "a")
        }
    }
}
