import Dispatch
import Foundation
import NIOCore
import Testing
import Transport

@testable import RingmasterNIO
@testable import TransportTesting

/// A loop of Transport on a thread of its own, with an event loop of SwiftNIO on it.
private final class LoneLoop: Sendable {
    let loop: RingEventLoop
    let remote: EventLoopRemote
    private let ended = Recorder<Int>()

    init(_ kind: TransportKind, tasksMax: Int = 65_536) throws {
        var configuration = EventLoopConfiguration()
        configuration.transport = kind
        configuration.tasks.countMax = tasksMax
        let made = Recorder<(RingEventLoop, EventLoopRemote)>()
        let ended = ended
        Thread.detachNewThread { [configuration] in
            guard let below = try? Transport.EventLoop(configuration) else { return }
            made.record((RingEventLoop(on: below), below.remote))
            ended.record((try? below.run()) ?? -1)
        }
        (loop, remote) = try made.next()
    }

    /// Stops the loop below; nothing may be left in flight.
    func join() throws {
        remote.stop()
        #expect(try ended.next() == 0)
    }
}

@Suite("Event loop on a loop that exists", .timeLimit(.minutes(1)))
struct LoneLoopTests {
    @Test("it runs tasks, timers and channels, and ends while the loop below goes on", arguments: TransportKind.here)
    func life(kind: TransportKind) async throws {
        let lone = try LoneLoop(kind)
        let loop = lone.loop
        try await expect(loop.submit { loop.inEventLoop && RingEventLoop.current === loop }, is: true)
        try await loop.scheduleTask(in: .milliseconds(1)) {}.futureResult.get()
        let failed = Recorder<Bool>()
        loop.scheduleTask(in: .hours(1)) {}.futureResult.whenFailure {
            failed.record($0 as? EventLoopError == .shutdown)
        }
        let server = try await RingServerBootstrap(group: loop).childChannelInitializer { channel in
            channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(EchoHandler()) }
        }.bind(host: "127.0.0.1", port: 0).get()
        let peer = try Peer(connectingTo: server)
        try peer.send("hello")
        #expect(try peer.receive(exactly: 5) == Array("hello".utf8))

        try await loop.shutdownGracefully()
        try await loop.shutdownGracefully()
        #expect(try peer.receiveToEnd() == [])
        #expect(!server.isActive)
        #expect(failed.all == [true])
        let turned = Recorder<Bool>()
        lone.remote.execute { _ in turned.record(RingEventLoop.current == nil) }
        #expect(try turned.next())
        try lone.join()
    }

    @Test("asked to end many times at once, it tells everybody", arguments: TransportKind.here)
    func manyEnds(kind: TransportKind) throws {
        let lone = try LoneLoop(kind)
        let loop = lone.loop
        let called = Recorder<Bool>()
        try onThreads(4) { _ in
            for _ in 0..<5 { loop.shutdownGracefully(queue: .global()) { called.record($0 == nil) } }
        }
        try called.wait { $0.count == 20 }
        #expect(called.all.allSatisfy { $0 })
        try lone.join()
    }

    @Test("on its thread, what comes after its end is refused and told so", arguments: TransportKind.here)
    func afterwards(kind: TransportKind) async throws {
        let lone = try LoneLoop(kind)
        let loop = lone.loop
        try await loop.shutdownGracefully()
        let failures = Recorder<Bool>()
        lone.remote.execute { _ in
            loop.execute { Issue.record("it has ended, and yet it ran") }
            for delay in [TimeAmount.zero, .hours(1)] {
                let scheduled = loop.scheduleTask(in: delay) { _ = Issue.record("it has ended, and yet it ran") }
                scheduled.cancel()
                scheduled.futureResult.whenFailure { failures.record($0 as? EventLoopError == .shutdown) }
            }
        }
        try failures.wait { $0.count == 2 }
        #expect(failures.all == [true, true])
        try lone.join()
    }

    @Test("nobody need refer to it: its thread does", arguments: TransportKind.here)
    func kept(kind: TransportKind) async throws {
        weak var loop: RingEventLoop?
        let (remote, ended) = (Recorder<EventLoopRemote>(), Recorder<Bool>())
        let ran = Counter()
        Thread.detachNewThread {
            var configuration = EventLoopConfiguration()
            configuration.transport = kind
            guard let below = try? Transport.EventLoop(configuration) else { return }
            _ = RingEventLoop(on: below).scheduleTask(in: .milliseconds(5)) { _ = ran.increment() }
            remote.record(below.remote)
            _ = try? below.run()
            ended.record(true)
        }
        let below = try remote.next()
        let found = Recorder<WeakLoop>()
        below.execute { _ in found.record(WeakLoop(RingEventLoop.current)) }
        loop = try found.next().loop
        try eventually { ran.value == 1 }
        #expect(loop != nil)
        below.stop()
        #expect(try ended.next())
    }

    @Test("a bound on the tasks of the loop below is none on its own", arguments: TransportKind.here)
    func bound(kind: TransportKind) async throws {
        let lone = try LoneLoop(kind, tasksMax: 1)
        let loop = lone.loop
        let ran = Counter()
        try onThreads(4) { _ in
            for _ in 0..<1000 {
                lone.remote.execute { _ in }
                loop.execute { ran.increment() }
            }
        }
        try eventually { ran.value == 4000 }
        try await loop.shutdownGracefully()
        try lone.join()
    }

    @Test(
        "when the loop below has ended without it, tasks are dropped with what they hold", arguments: TransportKind.here
    )
    func endedBelow(kind: TransportKind) async throws {
        let lone = try LoneLoop(kind)
        let loop = lone.loop
        _ = try await loop.submit {}.get()
        try lone.join()
        let gone = Counter()
        for _ in 0..<10 {
            let tracer = Tracer(gone)
            #expect(!loop.tasks.offer(.function { withExtendedLifetime(tracer) {} }))
        }
        #expect(gone.value == 10)
        try await loop.shutdownGracefully()
    }
}

/// Tells when its channel ends. Loop thread.
private final class EndHandler: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer

    private let heard: @Sendable (String) -> Void

    init(_ heard: @escaping @Sendable (String) -> Void) { self.heard = heard }

    func channelInactive(context: ChannelHandlerContext) { heard("inactive") }
    func channelUnregistered(context: ChannelHandlerContext) { heard("unregistered") }
}

/// The loop below is stopped, and nobody has shut down the one on it.
@Suite("Event loop whose loop below stops", .timeLimit(.minutes(1)))
struct StoppedBelowTests {
    @Test(
        "tasks that other threads bring meanwhile do not keep its channels from ending", arguments: TransportKind.here)
    func intruders(kind: TransportKind) async throws {
        let lone = try LoneLoop(kind)
        let loop = lone.loop
        let (taken, ran, ended) = (Recorder<Bool>(), Counter(), Counter())
        // On the loop's thread, so that another brings a task at this very moment.
        let intrude: @Sendable () -> Void = {
            let isTaken = Recorder<Bool>()
            Thread.detachNewThread { isTaken.record(loop.tasks.offer(.function { ran.increment() })) }
            taken.record((try? isTaken.next()) ?? false)
        }
        let accepted = Recorder<any NIOCore.Channel>()
        let server = try await RingServerBootstrap(group: loop).childChannelInitializer { channel in
            accepted.record(channel)
            // Once before the loop below refuses tasks, and once behind.
            channel.closeFuture.whenComplete { _ in
                intrude()
                ended.increment()
            }
            return channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandler(EndHandler { if $0 == "inactive" { intrude() } })
            }
        }.bind(host: "127.0.0.1", port: 0).get()
        let peers = try (0..<3).map { _ in try Peer(connectingTo: server) }
        let channels = try accepted.wait { $0.count == 3 }
        try eventually { channels.allSatisfy(\.isActive) }
        try lone.join()
        #expect(ended.value == 3)
        #expect(taken.all == Array(repeating: true, count: 6) && ran.value == 6)
        for peer in peers { #expect(try peer.receiveToEnd() == []) }
    }

    @Test(
        "listeners, and channels that are not active, end as well, and nothing is kept", arguments: TransportKind.here)
    func everything(kind: TransportKind) async throws {
        let heard = Recorder<String>()
        let loop = try await stop(kind, heard)
        #expect(
            heard.all.sorted() == [
                "listener closed", "listener inactive", "listener unregistered", "timer shutdown", "young closed",
                "young unregistered",
            ])
        try eventually { loop.loop == nil }
    }

    private func stop(_ kind: TransportKind, _ heard: Recorder<String>) async throws -> WeakLoop {
        let lone = try LoneLoop(kind)
        let loop = lone.loop
        let listener = try await RingServerBootstrap(group: loop).serverChannelInitializer { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandler(EndHandler { heard.record("listener \($0)") })
            }
        }.bind(host: "127.0.0.1", port: 0).get()
        let young = RingStreamChannel(loop, fd: try Socket.stream(AF_INET))
        try await young.pipeline.addHandler(EndHandler { heard.record("young \($0)") }).get()
        try await young.register().get()
        listener.closeFuture.whenSuccess { heard.record("listener closed") }
        young.closeFuture.whenSuccess { heard.record("young closed") }
        loop.scheduleTask(in: .hours(1)) {}.futureResult.whenFailure {
            if $0 as? EventLoopError == .shutdown { heard.record("timer shutdown") }
        }
        try await loop.submit {}.get()
        try lone.join()
        return WeakLoop(loop)
    }
}

/// Refers to a loop without keeping it.
// Sendable: a weak reference is read by one thread at a time.
private struct WeakLoop: @unchecked Sendable {
    weak var loop: RingEventLoop?

    init(_ loop: RingEventLoop?) { self.loop = loop }
}
