import NIOCore
import Testing
import Transport

@testable import RingmasterNIO
@testable import TransportTesting

/// Answers what it reads with the same, and closes when it is to quiesce: it has nothing to do then.
private final class IdleCloser: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let heard: Recorder<String>

    init(_ heard: Recorder<String>) { self.heard = heard }

    func channelActive(context: ChannelHandlerContext) { heard.record("active") }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        heard.record("request")
        context.writeAndFlush(data, promise: nil)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard event is ChannelShouldQuiesceEvent else { return }
        heard.record("drain")
        context.close(promise: nil)
    }
}

@Suite("What a service's channels hear of a drain", .timeLimit(.minutes(1)))
struct DrainTests {
    private static func stage(_ kind: TransportKind, _ heard: Recorder<String>) throws -> Stage {
        let stage = try Stage(
            kind,
            NIOService { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(IdleCloser(heard))
                }
            })
        _ = try stage.ready.next()
        return stage
    }

    private static func expectAnswer(_ peer: Peer) throws {
        #expect(try peer.receive(exactly: 7) == Array("request".utf8))
        #expect(try peer.receiveToEnd() == [])
    }

    @Test(
        "a connection that comes during a drain hears of it when its first request has been answered",
        arguments: TransportKind.here)
    func late(kind: TransportKind) throws {
        let heard = Recorder<String>()
        let stage = try Self.stage(kind, heard)
        stage.on { $0.drain(spread: .zero) }
        try Self.expectAnswer(stage.connect(sending: "request"))
        #expect(heard.all == ["active", "request", "drain"])
        try eventually { stage.ended.value == 1 }
        try stage.finish()
    }

    @Test("so does one that has come a moment before", arguments: TransportKind.here)
    func young(kind: TransportKind) throws {
        let heard = Recorder<String>()
        let stage = try Self.stage(kind, heard)
        let peer = try stage.connect(sending: "request")
        stage.on { $0.drain(spread: .zero) }
        try Self.expectAnswer(peer)
        #expect(heard.all == ["active", "request", "drain"])
        try stage.finish()
    }

    @Test("one that says nothing hears of it all the same", arguments: TransportKind.here)
    func silent(kind: TransportKind) throws {
        let heard = Recorder<String>()
        let stage = try Self.stage(kind, heard)
        let before = try stage.connect()
        stage.on { $0.drain(spread: .zero) }
        let after = try stage.connect()
        for peer in [before, after] { #expect(try peer.receiveToEnd() == []) }
        #expect(heard.all.sorted() == ["active", "active", "drain", "drain"])
        try stage.finish()
    }

    @Test("each hears of it once, of however many drains", arguments: TransportKind.here)
    func once(kind: TransportKind) throws {
        let events = Counter()
        let stage = try Stage(
            kind,
            NIOService { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(EventCounter(events))
                }
            })
        _ = try stage.ready.next()
        let peers = try (0..<3).map { _ in try stage.connect() }
        stage.on {
            $0.drain(spread: .milliseconds(300))
            $0.drain(spread: .zero)
        }
        let isOver = Recorder<Bool>()
        // Behind the last of the first drain's timers.
        stage.on { _ in
            RingEventLoop.current?.scheduleTask(in: .milliseconds(700)) { isOver.record(true) }
        }
        #expect(try isOver.next())
        #expect(events.value == peers.count)
        try stage.finish()
    }
}

/// Counts how often it is to quiesce.
private final class EventCounter: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer

    private let events: Counter

    init(_ events: Counter) { self.events = events }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is ChannelShouldQuiesceEvent { events.increment() }
    }
}
