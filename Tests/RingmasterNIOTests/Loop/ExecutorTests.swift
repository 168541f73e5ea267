import NIOCore
import RingmasterNIO
import Testing

import enum Transport.TransportKind

@testable import TransportTesting

/// An actor that lives on a loop.
private actor LoopActor {
    private let executor: any SerialExecutor
    nonisolated let loop: any EventLoop
    private(set) var count = 0

    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    init(_ loop: any EventLoop) {
        self.loop = loop
        executor = loop.executor
    }

    func increment() {
        loop.preconditionInEventLoop()
        count += 1
    }

    /// Suspends, and comes back.
    func sleep() async throws {
        try await Task.sleep(for: .milliseconds(1))
        loop.preconditionInEventLoop()
        count += 1
    }

    nonisolated func assumedCount() -> Int { assumeIsolated { $0.count } }
}

/// An actor without an executor of its own.
private actor PlainActor {
    func isOn(_ loop: any EventLoop) -> Bool { loop.inEventLoop }
}

@Suite("Event loop: executors", .timeLimit(.minutes(1)))
struct ExecutorTests {
    @Test("an actor with the loop as its executor runs there and nowhere else", arguments: TransportKind.here)
    func actor(kind: TransportKind) async throws {
        try await withRingGroup(kind, count: 2) { group in
            let actor = LoopActor(group.loops[0])
            try await withThrowingTaskGroup { tasks in
                for _ in 0..<100 { tasks.addTask { await actor.increment() } }
                for _ in 0..<10 { tasks.addTask { try await actor.sleep() } }
                try await tasks.waitForAll()
            }
            #expect(await actor.count == 110)
        }
    }

    @Test("on the loop, its actors may be assumed to be isolated", arguments: TransportKind.here)
    func assumed(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let loop = group.loops[0]
            let actor = LoopActor(loop)
            await actor.increment()
            let count = try await loop.submit { actor.assumedCount() }.get()
            #expect(count == 1)
        }
    }

    @Test("elsewhere they may not")
    func notAssumed() async {
        await #expect(processExitsWith: .failure) {
            let group = try RingEventLoopGroup(numberOfThreads: 1, transport: .epoll)
            _ = LoopActor(group.loops[0]).assumedCount()
        }
    }

    @Test(
        "a task that prefers the loop stays there, whatever it awaits, and so do its children",
        arguments: TransportKind.here)
    func taskExecutor(kind: TransportKind) async throws {
        try await withRingGroup(kind, count: 2) { group in
            let (loop, other) = (group.loops[0], group.loops[1])
            let task = Task(executorPreference: loop.taskExecutor) {
                var stays = [loop.inEventLoop]
                await Task.yield()
                stays.append(loop.inEventLoop)
                try await Task.sleep(for: .milliseconds(1))
                stays.append(loop.inEventLoop)
                _ = try await other.submit { 1 }.get()
                stays.append(loop.inEventLoop)
                async let child = loop.inEventLoop
                stays.append(await child)
                let children = await withTaskGroup(of: Bool.self) { tasks in
                    for _ in 0..<10 {
                        tasks.addTask {
                            await Task.yield()
                            return loop.inEventLoop
                        }
                    }
                    return await tasks.reduce(into: []) { $0.append($1) }
                }
                stays += children
                stays.append(await PlainActor().isOn(loop))
                stays.append(loop.inEventLoop)
                return stays
            }
            let stays = try await task.value
            #expect(stays.count == 17 && stays.allSatisfy { $0 })
        }
    }

    @Test("an actor of another loop runs there, and who awaits it comes back", arguments: TransportKind.here)
    func otherActor(kind: TransportKind) async throws {
        try await withRingGroup(kind, count: 2) { group in
            let (loop, actor) = (group.loops[0], LoopActor(group.loops[1]))
            let cameBack = await Task(executorPreference: loop.taskExecutor) {
                await actor.increment()
                return loop.inEventLoop
            }.value
            #expect(cameBack)
            #expect(await actor.count == 1)
        }
    }

    @Test("jobs do not keep timers from firing, nor each other from running", arguments: TransportKind.here)
    func fair(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let loop = group.loops[0]
            let goesOn = SharedFlag(true)
            let busy = Task(executorPreference: loop.taskExecutor) {
                while goesOn.value { await Task.yield() }
            }
            try await loop.scheduleTask(in: .milliseconds(1)) {}.futureResult.get()
            #expect(await Task(executorPreference: loop.taskExecutor) { loop.inEventLoop }.value)
            goesOn.value = false
            await busy.value
        }
    }
}
