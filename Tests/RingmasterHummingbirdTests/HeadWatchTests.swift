import NIOCore
import NIOEmbedded
import NIOHTTP1
import Testing

@testable import RingmasterHummingbird

@Suite("HTTP/1.1: heads that are not complete")
struct HeadWatchTests {
    private let channel = EmbeddedChannel()

    init() throws {
        var limits = HTTPLimits()
        limits.headTimeout = .seconds(10)
        let requests = HTTP1Handler(limits, edge: nil)
        let pipeline = channel.pipeline.syncOperations
        try pipeline.addHandler(HeadWatch(requests, limits))
        try pipeline.configureHTTPServerPipeline(withPipeliningAssistance: false, withErrorHandling: false)
        try pipeline.addHandler(requests)
        try channel.connect(to: SocketAddress(unixDomainSocketPath: "/none")).wait()
    }

    private func receive(_ text: String) throws { try channel.writeInbound(ByteBuffer(string: text)) }

    private func answer(_ status: HTTPResponseStatus) throws -> String {
        let head = HTTPResponseHead(version: .http1_1, status: status, headers: ["content-length": "0"])
        try channel.writeOutbound(HTTPServerResponsePart.head(head))
        try channel.writeOutbound(HTTPServerResponsePart.end(nil))
        var text = ""
        while let buffer = try channel.readOutbound(as: ByteBuffer.self) { text += String(buffer: buffer) }
        return text
    }

    /// So long passes; throws what a client is told then.
    private func wait(_ seconds: Int64) throws {
        channel.embeddedEventLoop.advanceTime(by: .seconds(seconds))
        try channel.throwIfErrorCaught()
    }

    private static let request = "GET / HTTP/1.1\r\nhost: a\r\n\r\n"

    @Test("the time of a head behind requests that are being answered begins with the last answer")
    func behindRequests() throws {
        try receive(Self.request + Self.request + "GET / HT")
        try wait(60)
        #expect(try answer(.ok).hasPrefix("HTTP/1.1 200 "))
        try wait(60)
        #expect(try answer(.ok).hasPrefix("HTTP/1.1 200 "))
        try wait(9)
        #expect(throws: HTTPParserError.self) { try wait(1) }
        #expect(try answer(.badRequest).hasPrefix("HTTP/1.1 408 "))
    }

    @Test("a head that is completed in time is not too slow, however slow its answer is")
    func completed() throws {
        try receive("GET / HTTP/1.1\r\n")
        try wait(9)
        try receive("host: a\r\n\r\n")
        try wait(60)
        #expect(try answer(.ok).hasPrefix("HTTP/1.1 200 "))
        try wait(60)
    }

    @Test(
        "lines without CR are no valid request, other versions one that is not supported",
        arguments: [
            (["GET / HTTP/1.1\nhost: a\n\n"], 400), (["GET / HTTP/1.1", "\nhost: a\n\n"], 400),
            (["GET / HTTP/1.1\r", "\nhost: a\r\n\r\n"], nil), (["GET / HTTP/2.0\r\nhost: a\r\n\r\n"], 505),
            (["GET / HTTP/3.7\r", "\nhost: a\r\n\r\n"], 505),
        ] as [([String], Int?)])
    func lineFeeds(pieces: [String], status: Int?) throws {
        var refusal: (any Error)?
        do {
            for piece in pieces { try receive(piece) }
            try channel.throwIfErrorCaught()
        } catch {
            refusal = error
        }
        #expect((refusal != nil) == (status != nil))
        #expect(try answer(status == nil ? .ok : .badRequest).hasPrefix("HTTP/1.1 \(status ?? 200) "))
    }
}
