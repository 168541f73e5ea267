import NIOCore
import NIOEmbedded
import NIOHPACK
import NIOHTTP2
import Testing

@testable import RingmasterHummingbird

@Suite("the end of an answer on a stream of HTTP/2")
struct HTTP2AnswerEndTests {
    private typealias Payload = HTTP2Frame.FramePayload

    private let channel = EmbeddedChannel(handler: HTTP2AnswerEnd())

    private static func head(_ length: String?, endStream: Bool = false) -> Payload {
        .headers(.init(headers: HPACKHeaders(length.map { [("content-length", $0)] } ?? []), endStream: endStream))
    }

    private static func data(_ count: Int) -> Payload {
        .data(.init(data: .byteBuffer(ByteBuffer(repeating: 1, count: count))))
    }

    private static let end = Payload.data(.init(data: .byteBuffer(ByteBuffer()), endStream: true))

    /// Bytes of DATA, nil of HEADERS, and whether the frame ends the stream.
    private struct Sent: Equatable {
        var bytes: Int?
        var endsStream: Bool
    }

    private func write(_ payload: Payload, _ promise: EventLoopPromise<Void>? = nil) {
        channel.pipeline.write(payload, promise: promise)
    }

    private func sent() throws -> [Sent] {
        var frames: [Sent] = []
        while let payload = try channel.readOutbound(as: Payload.self) {
            switch payload {
            case .headers(let head): frames.append(Sent(bytes: nil, endsStream: head.endStream))
            case .data(let data): frames.append(Sent(bytes: data.data.readableBytes, endsStream: data.endStream))
            default: Issue.record("\(payload)")
            }
        }
        return frames
    }

    @Test("the frame that completes the length promised waits for the end, and carries it")
    func merged() throws {
        let (part, last) = (channel.eventLoop.makePromise(of: Void.self), channel.eventLoop.makePromise(of: Void.self))
        write(Self.head("7"))
        write(Self.data(4))
        write(Self.data(3), part)
        channel.flush()
        #expect(try sent() == [], "nothing is flushed before the end that follows at once")
        write(Self.end, last)
        channel.flush()
        #expect(
            try sent() == [
                Sent(endsStream: false), Sent(bytes: 4, endsStream: false), Sent(bytes: 3, endsStream: true),
            ])
        try part.futureResult.wait()
        try last.futureResult.wait()
    }

    @Test("a body that is not complete is flushed as it comes")
    func incomplete() throws {
        write(Self.head("7"))
        channel.flush()
        #expect(try sent() == [Sent(endsStream: false)])
        write(Self.data(6))
        channel.flush()
        #expect(try sent() == [Sent(bytes: 6, endsStream: false)])
    }

    @Test(
        "nothing is held of a body without a promised length, or one that is not what was promised",
        arguments: [nil, "2", "0", "-1", "x"])
    func unbounded(length: String?) throws {
        write(Self.head(length))
        write(Self.data(3))
        channel.flush()
        #expect(try sent() == [Sent(endsStream: false), Sent(bytes: 3, endsStream: false)])
        write(Self.end)
        channel.flush()
        #expect(try sent() == [Sent(bytes: 0, endsStream: true)])
    }

    @Test("trailers come behind the frame that was held, and end the stream themselves")
    func trailers() throws {
        write(Self.head("3"))
        write(Self.data(3))
        write(Self.head(nil, endStream: true))
        channel.flush()
        #expect(try sent() == [Sent(endsStream: false), Sent(bytes: 3, endsStream: false), Sent(endsStream: true)])
    }

    @Test("a stream that is closed without its end sends what was held")
    func closed() throws {
        write(Self.head("3"))
        write(Self.data(3))
        channel.close(promise: nil)
        #expect(try sent() == [Sent(endsStream: false), Sent(bytes: 3, endsStream: false)])
    }
}
