import HTTPTypes
import NIOCore
import NIOEmbedded
import NIOHTTPTypes
import NIOHTTPTypesHTTP2
import Synchronization
import Testing

@testable import RingmasterHummingbird

@Suite("the limit of a request's body on a stream of HTTP/2")
struct HTTP2BodyLimitTests {
    /// Takes note of resets.
    private final class Codec: ChannelOutboundHandler {
        typealias OutboundIn = HTTPResponsePart
        private(set) var resets: [NIOHTTP2FramePayloadToHTTPEvent] = []

        func triggerUserOutboundEvent(context: ChannelHandlerContext, event: Any, promise: EventLoopPromise<Void>?) {
            if let event = event as? NIOHTTP2FramePayloadToHTTPEvent { resets.append(event) }
            promise?.succeed()
        }
    }

    private let codec = Codec()
    private let channel: EmbeddedChannel
    private static let noError = [NIOHTTP2FramePayloadToHTTPEvent.reset(code: .noError)]

    init() throws {
        let told = Told()
        var limits = HTTPLimits()
        limits.refused = { status, _ in told.statuses.withLock { $0.append(status) } }
        self.told = told
        channel = EmbeddedChannel(handlers: [codec, HTTP2BodyLimit(limits, bytesMax: 10)])
        try channel.connect(to: SocketAddress(unixDomainSocketPath: "/none")).wait()
        let head = HTTPRequest(method: .post, scheme: nil, authority: nil, path: "/")
        try channel.writeInbound(HTTPRequestPart.head(head))
        _ = try channel.readInbound(as: HTTPRequestPart.self)
    }

    private final class Told: Sendable {
        let statuses = Mutex<[Int]>([])
    }

    private let told: Told

    private func receive(_ count: Int) throws {
        try channel.writeInbound(HTTPRequestPart.body(ByteBuffer(repeating: 0, count: count)))
    }

    private func received() throws -> Int {
        var count = 0
        while case .body(let buffer)? = try channel.readInbound(as: HTTPRequestPart.self) {
            count += buffer.readableBytes
        }
        return count
    }

    private func sent() throws -> [HTTPResponsePart] {
        var parts: [HTTPResponsePart] = []
        while let part = try channel.readOutbound(as: HTTPResponsePart.self) { parts.append(part) }
        return parts
    }

    private let ok = HTTPResponsePart.head(HTTPResponse(status: .ok))

    @Test("a body of just that many bytes passes")
    func within() throws {
        for _ in 0..<10 { try receive(1) }
        #expect(try received() == 10)
        #expect(try sent().isEmpty && codec.resets.isEmpty)
    }

    @Test("a request that is not being answered is answered with 413, once, and its stream ended")
    func refused() throws {
        try receive(10)
        try receive(1)
        #expect(try received() == 10)
        let answer = try sent()
        guard answer.count == 2, case .head(let head) = answer[0], case .end = answer[1] else {
            Issue.record("\(answer)")
            return
        }
        #expect(head.status == .contentTooLarge)
        #expect(codec.resets == Self.noError)
        #expect(told.statuses.withLock { $0 } == [413])
        try receive(100)
        #expect(try received() == 0)
        #expect(throws: HTTP2BodyLimit.TooLarge.self) { try channel.writeOutbound(ok) }
        #expect(try sent().isEmpty && codec.resets == Self.noError)
    }

    @Test("an answer that has been sent is the only one")
    func answered() throws {
        try channel.writeOutbound(ok)
        try channel.writeOutbound(HTTPResponsePart.end(nil))
        #expect(codec.resets.isEmpty)
        try receive(11)
        #expect(try sent() == [ok, .end(nil)])
        #expect(codec.resets == Self.noError)
        #expect(told.statuses.withLock { $0 }.isEmpty)
    }

    @Test("an answer that waits for room is sent to its end, though Hummingbird closes the stream")
    func waiting() throws {
        try channel.writeOutbound(ok)
        channel.write(HTTPResponsePart.end(nil), promise: nil)
        #expect(throws: HTTP2BodyLimit.TooLarge.self) { try receive(11) }
        channel.close(promise: nil)
        #expect(channel.isActive && codec.resets.isEmpty)
        channel.flush()
        #expect(try sent() == [ok, .end(nil)])
        #expect(codec.resets == Self.noError)
    }

    @Test("who reads the body while it answers hears of it, and may finish the answer, or not")
    func answering() throws {
        try channel.writeOutbound(ok)
        #expect(throws: HTTP2BodyLimit.TooLarge.self) { try receive(11) }
        #expect(codec.resets.isEmpty)
        try channel.writeOutbound(HTTPResponsePart.end(nil))
        #expect(try sent() == [ok, .end(nil)])
        #expect(codec.resets == Self.noError)
        channel.close(promise: nil)
        #expect(!channel.isActive)
    }
}
