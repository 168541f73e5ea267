import Dispatch
import Foundation
import NIOCore
import Synchronization
import Testing

import enum Transport.TransportKind

@testable import RingmasterNIO
@testable import TransportTesting

/// Keeps its channel from closing, and tells that it was asked.
private final class HoldOpenHandler: ChannelOutboundHandler, Sendable {
    typealias OutboundIn = Never

    private let asked: @Sendable (@escaping @Sendable () -> Void) -> Void

    /// - Parameter asked: is given what closes the channel after all. Loop thread.
    init(_ asked: @escaping @Sendable (@escaping @Sendable () -> Void) -> Void) { self.asked = asked }

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        let bound = context.loopBound
        asked { bound.value.close(mode: mode, promise: promise) }
    }
}

/// Counts what it is told of.
private final class LifeHandler: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer

    let (inactive, unregistered, removed) = (Counter(), Counter(), Counter())

    func channelInactive(context: ChannelHandlerContext) { inactive.increment() }
    func channelUnregistered(context: ChannelHandlerContext) { unregistered.increment() }
    func handlerRemoved(context: ChannelHandlerContext) { removed.increment() }
}

private struct SilentHandler: NIOScheduledCallbackHandler {
    func handleScheduledCallback(eventLoop: some EventLoop) {}
}

private func say(_ word: String) { FileHandle.standardError.write(Data("\(word)\n".utf8)) }

@Suite("Event loop group: shutdown", .timeLimit(.minutes(1)))
struct ShutdownTests {
    private func makeGroup(_ kind: TransportKind, count: Int = 1) throws -> RingEventLoopGroup {
        try RingEventLoopGroup(numberOfThreads: count, transport: kind == .epoll ? .epoll : .ioUring)
    }

    @Test(
        "servers, their connections and clients are closed, and told so, before the callback comes",
        arguments: TransportKind.here)
    func channels(kind: TransportKind) async throws {
        let group = try makeGroup(kind, count: 3)
        let life = LifeHandler()
        let accepted = Recorder<any Channel>()
        let server = try await group.serve { channel in
            accepted.record(channel)
            try channel.pipeline.syncOperations.addHandler(life)
        }
        var channels = [server]
        for _ in 0..<10 {
            channels.append(
                try await group.connect(to: server) { try $0.pipeline.syncOperations.addHandler(life) })
        }
        channels += try accepted.wait { $0.count == 10 }
        try eventually { channels.allSatisfy(\.isActive) }
        let ended = Counter()
        for channel in channels { channel.closeFuture.whenSuccess { ended.increment() } }
        try await group.shutdownGracefully()
        #expect(ended.value == 21 && channels.allSatisfy { !$0.isActive })
        #expect(life.inactive.value == 20 && life.unregistered.value == 20 && life.removed.value == 20)
    }

    @Test("whoever asks, at once, later or when it is over, is called back", arguments: TransportKind.here)
    func callbacks(kind: TransportKind) throws {
        let group = try makeGroup(kind, count: 2)
        let called = Recorder<Bool>()
        try onThreads(4) { _ in
            for _ in 0..<5 { group.shutdownGracefully(queue: .global()) { called.record($0 == nil) } }
        }
        try called.wait { $0.count == 20 }
        group.shutdownGracefully(queue: .global()) { called.record($0 == nil) }
        try called.wait { $0.count == 21 }
        #expect(called.all.allSatisfy { $0 })
    }

    @Test("a loop's own thread may ask, with a callback", arguments: TransportKind.here)
    func fromLoop(kind: TransportKind) throws {
        let group = try makeGroup(kind, count: 2)
        let queue = DispatchQueue(label: "callbacks")
        let key = DispatchSpecificKey<Bool>()
        queue.setSpecific(key: key, value: true)
        let called = Recorder<Bool>()
        group.next().execute {
            group.shutdownGracefully(queue: queue) { _ in called.record(DispatchQueue.getSpecific(key: key) == true) }
        }
        #expect(try called.next())
    }

    @Test("groups come and go, many at a time", arguments: TransportKind.here)
    func manyGroups(kind: TransportKind) async throws {
        try await withThrowingTaskGroup { tasks in
            for _ in 0..<4 {
                tasks.addTask {
                    for _ in 0..<10 {
                        try await withRingGroup(kind, count: 2) { group in group.next().execute {} }
                    }
                }
            }
            try await tasks.waitForAll()
        }
    }

    @Test(
        "a channel whose handlers let it close later is waited for, and meanwhile no channel is taken",
        arguments: TransportKind.here)
    func held(kind: TransportKind) async throws {
        let group = try makeGroup(kind)
        let held = Recorder<@Sendable () -> Void>()
        // Both ends, since either would follow the other.
        let hold: @Sendable (any Channel) throws -> Void = {
            try $0.pipeline.syncOperations.addHandler(HoldOpenHandler { held.record($0) })
        }
        let server = try await group.serve(hold)
        let client = try await group.connect(to: server, hold)
        let peer = try Peer(connectingTo: server)
        let address = try #require(server.localAddress)
        let ended = Recorder<Bool>()
        // Longer than any machine is slow.
        group.shutdownGracefully(patience: .hours(1), queue: .global()) { ended.record($0 == nil) }
        try held.wait { $0.count == 3 }
        #expect(client.isActive && ended.all.isEmpty)
        await #expect(throws: EventLoopError.shutdown) {
            try await RingClientBootstrap(group: group).connect(to: address).get()
        }
        await #expect(throws: EventLoopError.shutdown) { try await group.serve() }
        #expect(ended.all.isEmpty)
        for close in held.all { client.eventLoop.execute(close) }
        #expect(try peer.receiveToEnd() == [])
        #expect(try ended.next())
    }

    @Test(
        "a channel whose handlers never let it close is closed when five seconds are over",
        arguments: TransportKind.here)
    func swallowed(kind: TransportKind) async throws {
        let group = try makeGroup(kind)
        let life = LifeHandler()
        let asked = Counter()
        let server = try await group.serve {
            try $0.pipeline.syncOperations.addHandlers(HoldOpenHandler { _ in asked.increment() }, life)
        }
        let client = try await group.connect(to: server) {
            try $0.pipeline.syncOperations.addHandlers(HoldOpenHandler { _ in asked.increment() }, life)
        }
        let start = NIODeadline.now()
        try await group.shutdownGracefully()
        #expect(NIODeadline.now() - start >= .seconds(5))
        #expect(asked.value == 2 && !client.isActive)
        #expect(life.inactive.value == 2 && life.unregistered.value == 2 && life.removed.value == 2)
    }

    @Test(
        "what is queued is run, with what it queues; what is scheduled fails, and what that schedules too",
        arguments: TransportKind.here)
    func tasks(kind: TransportKind) async throws {
        let group = try makeGroup(kind)
        let loop = group.next()
        let (ran, failed) = (Counter(), Counter())
        let late = loop.scheduleTask(in: .hours(1)) {}
        late.futureResult.whenFailure { error in
            #expect(error as? EventLoopError == .shutdown)
            failed.increment()
            loop.execute { ran.increment() }
            loop.scheduleTask(in: .hours(1)) {}.futureResult.whenFailure { error in
                #expect(error as? EventLoopError == .shutdown)
                failed.increment()
            }
        }
        // Behind it come those that are queued when the group has been told to end.
        let queued = DispatchSemaphore(value: 0)
        loop.execute { queued.wait() }
        group.shutdownGracefully(queue: .global()) { _ in }
        for _ in 0..<10_000 {
            loop.execute {
                ran.increment()
                if ran.value <= 10_000 { loop.execute { ran.increment() } }
            }
        }
        queued.signal()
        try await group.shutdownGracefully()
        #expect(failed.value == 2 && ran.value == 20_001)
    }

    @Test("scheduled tasks without end at the end stop the process, which says why")
    func endless() async {
        let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
            @Sendable func schedule(_ loop: any EventLoop) {
                loop.scheduleTask(in: .hours(1)) {}.futureResult.whenFailure { _ in schedule(loop) }
            }
            let group = try RingEventLoopGroup(numberOfThreads: 1, transport: .epoll)
            schedule(group.next())
            try await group.shutdownGracefully()
        }
        #expect(standardError(result).contains("bring new ones for ever"))
    }

    @Test(
        "after the end tasks and jobs are dropped with one line on standard error, and callbacks are cancelled in silence"
    )
    func afterwards() async {
        let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
            let group = try RingEventLoopGroup(numberOfThreads: 1, transport: .epoll)
            let loop = group.loops[0]
            let callback = try loop.scheduleCallback(in: .hours(1), handler: SilentHandler())
            try await group.shutdownGracefully()
            callback.cancel()
            say("cancelled")
            loop.execute { say("ran") }
            loop.execute { say("ran") }
            Task(executorPreference: loop.taskExecutor) { say("ran") }
            usleep(20_000)
        }
        let line = "RingmasterNIO: tasks were given to an event loop that has shut down: they do not run\n"
        #expect(standardError(result) == "cancelled\n" + line)
    }

    @Test(
        "what the end's own failures do to the loops that have ended is refused, not run, and crashes nobody",
        arguments: TransportKind.here)
    func fromCallback(kind: TransportKind) async throws {
        let group = try makeGroup(kind)
        let other = try makeGroup(kind)
        let failed = Counter()
        let scheduled = group.next().scheduleTask(in: .hours(1)) {}
        scheduled.futureResult.hop(to: other.next()).whenFailure { _ in failed.increment() }
        try await group.shutdownGracefully()
        try eventually { failed.value == 1 }
        try await other.shutdownGracefully()
    }

    @Test("clients that come while the group ends are lost with it, and nothing else", arguments: TransportKind.here)
    func comingClients(kind: TransportKind) async throws {
        for _ in 0..<10 {
            let group = try makeGroup(kind, count: 4)
            let server = try await group.serve { try $0.pipeline.syncOperations.addHandler(EchoHandler()) }
            let port = try #require(server.localAddress?.port)
            let goesOn = SharedFlag(true)
            let stopped = Recorder<Int>()
            let connected = Counter()
            for number in 0..<2 {
                Thread.detachNewThread {
                    while goesOn.value, (try? Peer(onPort: port)) != nil { connected.increment() }
                    stopped.record(number)
                }
            }
            try eventually { connected.value > 20 }
            try await group.shutdownGracefully()
            goesOn.value = false
            try stopped.wait { $0.count == 2 }
        }
    }
}
