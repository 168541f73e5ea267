import Glibc
import NIOCore
import Testing

@testable import RingmasterNIO
@testable import Transport
@testable import TransportTesting

/// Keeps its channel open, and tells that it was to close.
private final class KeepOpenHandler: ChannelOutboundHandler, Sendable {
    typealias OutboundIn = Never

    private let asked: @Sendable () -> Void

    init(_ asked: @escaping @Sendable () -> Void) { self.asked = asked }

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) { asked() }
}

@Suite("Event loops whose ring fails", .timeLimit(.minutes(1)))
struct FailedRingTests {
    /// The kernel refuses the loop's ring from now on. Loop thread.
    private static func fail(_ loop: RingEventLoop) {
        loop.core.state.pointee.handlerError = SystemError("a test", code: EBADF)
    }

    @Test("a group ends though a ring fails while its channels are being closed", arguments: TransportKind.here)
    func whileClosing(kind: TransportKind) async throws {
        let group = try RingEventLoopGroup(numberOfThreads: 2, transport: kind == .epoll ? .epoll : .ioUring)
        let loop = group.loops[0]
        let server = try await RingServerBootstrap(group: loop).serverChannelInitializer { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandler(KeepOpenHandler { Self.fail(loop) })
            }
        }.bind(host: "127.0.0.1", port: 0).get()
        let (closed, ended) = (Counter(), Recorder<Bool>())
        server.closeFuture.whenComplete { _ in closed.increment() }
        group.shutdownGracefully(patience: .hours(1), queue: .global()) { ended.record($0 == nil) }
        #expect(try ended.next())
        #expect(closed.value == 1)
    }

    @Test("a group ends though a ring has failed before, and who waited is told", arguments: TransportKind.here)
    func before(kind: TransportKind) async throws {
        let group = try RingEventLoopGroup(numberOfThreads: 2, transport: kind == .epoll ? .epoll : .ioUring)
        let loop = group.loops[0]
        let server = try await RingServerBootstrap(group: loop).bind(host: "127.0.0.1", port: 0).get()
        let told = Recorder<String>()
        server.closeFuture.whenComplete { _ in told.record("closed") }
        loop.scheduleTask(in: .hours(1)) {}.futureResult.whenFailure {
            if $0 as? EventLoopError == .shutdown { told.record("shutdown") }
        }
        loop.execute { Self.fail(loop) }
        try told.wait { $0.count == 2 }
        #expect(told.all.sorted() == ["closed", "shutdown"])
        let ended = Recorder<Bool>()
        group.shutdownGracefully(queue: .global()) { ended.record($0 == nil) }
        #expect(try ended.next())
    }
}
