import NIOCore
import NIOEmbedded
import NIOHTTP1
import Testing

@testable import RingmasterHummingbird

@Suite("immediate answers: what is sent and what is passed on")
struct ImmediateAnswersTests {
    private final class Calls {
        var sent = 0
    }

    private final class Events: ChannelInboundHandler {
        typealias InboundIn = Never
        var all: [String] = []

        func channelReadComplete(context: ChannelHandlerContext) { all.append("read complete") }
        func channelWritabilityChanged(context: ChannelHandlerContext) {
            all.append(context.channel.isWritable ? "writable" : "not writable")
        }
    }

    private let channel = EmbeddedChannel()
    private let events = Events()
    private let calls: Calls

    /// Answers what begins with "/now".
    init() throws {
        let calls = Calls()
        self.calls = calls
        // Unchecked: everything happens on the test's thread.
        nonisolated(unsafe) let shared = calls
        let answers = ImmediateAnswers(
            { request, _ in
                guard request.uri.hasPrefix("/now") else { return nil }
                if request.uri.hasPrefix("/now-without") {
                    let status: HTTPResponseStatus = request.uri.hasSuffix("304") ? .notModified : .accepted
                    return ImmediateAnswer(head: HTTPResponseHead(version: .http1_1, status: status))
                }
                if request.uri == "/now-long" {
                    let body = ByteBuffer(repeating: UInt8(ascii: "x"), count: 5000)
                    let head = HTTPResponseHead(version: .http1_1, status: .ok)
                    return ImmediateAnswer(head: head, body: .byteBuffer(body))
                }
                let head = HTTPResponseHead(version: .http1_1, status: .ok, headers: ["Content-Length": "4"])
                return ImmediateAnswer(
                    head: head, body: .byteBuffer(ByteBuffer(string: String(request.uri.suffix(4)))),
                    whenSent: { shared.sent += 1 })
            }, HTTPDate())
        let requests = HTTP1Handler(HTTPLimits(), edge: nil, immediate: answers)
        let pipeline = channel.pipeline.syncOperations
        try pipeline.addHandler(HeadWatch(requests, HTTPLimits()))
        try pipeline.configureHTTPServerPipeline(withPipeliningAssistance: false, withErrorHandling: false)
        try pipeline.addHandler(requests)
        try pipeline.addHandler(events)
        try channel.connect(to: SocketAddress(unixDomainSocketPath: "/none")).wait()
    }

    private func receive(_ uris: String...) throws {
        let text = uris.map { "GET \($0) HTTP/1.1\r\nHost: a\r\n\r\n" }.joined()
        try channel.writeInbound(ByteBuffer(string: text))
    }

    private func sent() throws -> String {
        var text = ""
        while let buffer = try channel.readOutbound(as: ByteBuffer.self) { text += String(buffer: buffer) }
        return text
    }

    private func passedOn() throws -> [String] {
        var uris: [String] = []
        while let part = try channel.readInbound(as: HTTPServerRequestPart.self) {
            if case .head(let head) = part { uris.append(head.uri) }
        }
        return uris
    }

    private func applicationAnswers() throws {
        let head = HTTPResponseHead(version: .http1_1, status: .notFound, headers: ["Content-Length": "0"])
        try channel.writeOutbound(HTTPServerResponsePart.head(head))
        try channel.writeOutbound(HTTPServerResponsePart.end(nil))
    }

    @Test("an answer has its date and its body, and what it stands on goes when it is sent")
    func answer() throws {
        try receive("/now1")
        let text = try sent()
        #expect(text.hasPrefix("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nDate: "))
        #expect(text.hasSuffix(" GMT\r\n\r\nnow1"))
        #expect(calls.sent == 1)
        #expect(try passedOn() == [])
    }

    @Test("requests that come together are answered in their order, whoever answers them")
    func order() throws {
        try receive("/now1", "/late", "/now2")
        #expect(try sent().hasSuffix("now1"))
        #expect(try passedOn() == ["/late", "/now2"])
        for _ in 0..<2 { try applicationAnswers() }
        #expect(try sent().hasPrefix("HTTP/1.1 404 "))
        try receive("/now3")
        #expect(try sent().hasSuffix("now3"))
    }

    @Test("what a closed connection cannot send is let go")
    func closed() throws {
        try channel.writeInbound(
            ByteBuffer(string: "GET /now1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
        #expect(try sent().hasSuffix("now1"))
        try receive("/now2")
        #expect(try sent() == "")
        #expect(try passedOn() == [])
        #expect(calls.sent == 1, "nobody was asked about the second")
    }

    @Test("where the client must know it, the body's length is added")
    func framing() throws {
        try receive("/now-without")
        #expect(try sent().hasPrefix("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nDate: "))
        try receive("/now-without-304")
        #expect(try sent().hasPrefix("HTTP/1.1 304 Not Modified\r\nDate: "))
        try receive("/now-long")
        let text = try sent()
        #expect(text.hasPrefix("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n"))
        #expect(text.hasSuffix("\r\n\r\n" + String(repeating: "x", count: 5000)))
    }

    @Test("an old client is answered in its version, and told that the connection goes on, if it asked for that")
    func oldVersion() throws {
        try channel.writeInbound(ByteBuffer(string: "GET /now1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"))
        #expect(try sent().hasPrefix("HTTP/1.0 200 OK\r\nContent-Length: 4\r\nconnection: keep-alive\r\nDate: "))
        try channel.writeInbound(ByteBuffer(string: "GET /now1 HTTP/1.0\r\n\r\n"))
        #expect(try sent().hasPrefix("HTTP/1.0 200 OK\r\nContent-Length: 4\r\nconnection: close\r\nDate: "))
    }

    @Test("the application hears of bursts that brought it something, and of room when it has something to write")
    func news() throws {
        func setWritable(_ isWritable: Bool) {
            channel.isWritable = isWritable
            channel.pipeline.fireChannelWritabilityChanged()
        }
        try receive("/now1")
        setWritable(false)
        setWritable(true)
        #expect(events.all == [])
        setWritable(false)
        try receive("/late")
        #expect(events.all == ["not writable", "read complete"])
        setWritable(true)
        setWritable(false)
        try applicationAnswers()
        setWritable(true)
        #expect(events.all == ["not writable", "read complete", "writable", "not writable", "writable"])
        setWritable(false)
        #expect(events.all.count == 5)
    }
}
