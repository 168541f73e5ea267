import Glibc
import NIOCore
import NIOEmbedded
import Testing

@testable import RingmasterHummingbird

@Suite("the edge of an HTTP connection")
struct ConnectionEdgeTests {
    /// A socket that takes nothing yet.
    private final class Full: ChannelOutboundHandler {
        typealias OutboundIn = ByteBuffer
        private(set) var outputClosed: EventLoopPromise<Void>?

        func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
            if mode == .output { outputClosed = promise } else { context.close(mode: mode, promise: promise) }
        }
    }

    private let full = Full()
    private let channel: EmbeddedChannel

    init() throws {
        channel = EmbeddedChannel(handlers: [full, ConnectionEdge(idleTimeout: .milliseconds(1))])
        try channel.connect(to: SocketAddress(unixDomainSocketPath: "/none")).wait()
        // Its bytes stay in the channel, as long as they are not flushed.
        channel.write(ByteBuffer(string: "the end of an answer"), promise: nil)
        channel.close(mode: .output, promise: nil)
    }

    /// An idle timeout passes, by the edge's clock and by its timer's.
    private func tick() {
        usleep(2000)
        channel.embeddedEventLoop.advanceTime(by: .milliseconds(1))
    }

    @Test("an output that is being closed has as much time as an open one: as long as bytes pass")
    func progress() throws {
        for _ in 0..<3 {
            channel.write(ByteBuffer(string: "a"), promise: nil)
            tick()
            #expect(channel.isActive)
        }
        tick()
        #expect(!channel.isActive, "nothing has passed")
    }

    @Test("when all has been sent, what comes is dropped for a while, and then the connection closed")
    func lingers() throws {
        full.outputClosed?.succeed()
        for _ in 0..<3 {
            try channel.writeInbound(ByteBuffer(string: "more"))
            tick()
        }
        #expect(channel.isActive)
        #expect(try channel.readInbound(as: ByteBuffer.self) == nil)
        channel.embeddedEventLoop.advanceTime(by: .seconds(2))
        #expect(!channel.isActive)
    }
}
