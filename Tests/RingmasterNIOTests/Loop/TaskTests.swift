import Foundation
import NIOCore
import RingmasterNIO
import Synchronization
import Testing

import enum Transport.TransportKind

@testable import TransportTesting

@Suite("Event loop: tasks", .timeLimit(.minutes(1)))
struct TaskTests {
    @Test("tasks run in the order in which they came, on the loop's thread", arguments: TransportKind.here)
    func order(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let loop = group.next()
            let log = Recorder<Int>()
            for number in 0..<1000 {
                loop.execute {
                    #expect(loop.inEventLoop)
                    log.record(number)
                }
            }
            try await loop.submit {}.get()
            #expect(log.all == Array(0..<1000))
        }
    }

    @Test(
        "a task that is queued on the loop never runs within the call, and behind those that were queued before",
        arguments: TransportKind.here)
    func reentrancy(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let loop = group.next()
            let log = Recorder<String>()
            try await loop.submit {
                loop.execute {
                    log.record("1")
                    loop.execute { log.record("1.1") }
                    log.record("1 ends")
                }
                loop.execute { log.record("2") }
                log.record("queued")
            }.get()
            try await loop.submit {}.get()
            try log.wait { $0.count == 5 }
            #expect(log.all == ["queued", "1", "1 ends", "2", "1.1"])
        }
    }

    @Test(
        "of many threads each has its tasks run in its order, none twice and none lost", arguments: TransportKind.here)
    func manyThreads(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let loop = group.next()
            let (threads, tasks) = (8, 2000)
            let seen = Mutex([[Int]](repeating: [], count: threads))
            let ran = Counter()
            try onThreads(threads) { thread in
                for number in 0..<tasks {
                    loop.execute {
                        seen.withLock { $0[thread].append(number) }
                        ran.increment()
                    }
                }
            }
            try await loop.submit {}.get()
            #expect(ran.value == threads * tasks)
            #expect(seen.withLock { $0.allSatisfy { $0 == Array(0..<tasks) } })
        }
    }

    @Test(
        "a task queued by the loop's only task, or its only timer, does not wait for anything",
        arguments: TransportKind.here)
    func onlyOne(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let loop = group.next()
            let ran = loop.makePromise(of: Void.self)
            loop.execute { loop.execute { ran.succeed() } }
            try await ran.futureResult.get()
            let ranToo = loop.makePromise(of: Void.self)
            loop.scheduleTask(in: .milliseconds(1)) { loop.execute { ranToo.succeed() } }
            try await ranToo.futureResult.get()
        }
    }

    @Test("a task queued by the loop's only read does not wait for anything", arguments: TransportKind.here)
    func onlyRead(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            try await withRingGroup(kind) { others in
                let ran = group.next().makePromise(of: Void.self)
                let server = try await group.serve { channel in
                    try channel.pipeline.syncOperations.addHandler(
                        ReadHandler { loop, _ in loop.execute { ran.succeed() } })
                }
                let client = try await others.connect(to: server)
                try await client.writeAndFlush(ByteBuffer(string: "x"))
                try await ran.futureResult.get()
            }
        }
    }

    @Test("an endless chain of tasks keeps no timer from firing", arguments: TransportKind.here)
    func floodAndTimer(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let loop = group.next()
            let goesOn = SharedFlag(true)
            let chain = Chain(loop, goesOn)
            loop.execute { for _ in 0..<10_000 { chain.go() } }
            for delay in [0, 1, 5] {
                try await loop.scheduleTask(in: .milliseconds(Int64(delay))) {}.futureResult.get()
            }
            goesOn.value = false
        }
    }

    @Test("an endless chain of tasks keeps no bytes from being echoed", arguments: TransportKind.here)
    func floodAndBytes(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let server = try await group.serve { try $0.pipeline.syncOperations.addHandler(EchoHandler()) }
            let loop = server.eventLoop
            let goesOn = SharedFlag(true)
            Chain(loop, goesOn).go()
            let peer = try Peer(connectingTo: server)
            for _ in 0..<10 {
                try peer.send("hello")
                #expect(try peer.receive(exactly: 5) == Array("hello".utf8))
            }
            goesOn.value = false
        }
    }

    @Test("more tasks than one turn runs do not wait for a timer that is far off", arguments: TransportKind.here)
    func notStuck(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let loop = group.next()
            let ran = Counter()
            let late = try await loop.submit {
                for _ in 0..<10_000 { loop.execute { ran.increment() } }
                return loop.scheduleTask(in: .hours(1)) {}
            }.get()
            try eventually { ran.value == 10_000 }
            late.cancel()
        }
    }

    @Test("what a task holds on to is let go of when it has run", arguments: TransportKind.here)
    func release(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let loop = group.next()
            let gone = Counter()
            for _ in 0..<100 {
                let tracer = Tracer(gone)
                loop.execute { withExtendedLifetime(tracer) {} }
            }
            try eventually { gone.value == 100 }
        }
    }

    @Test("submit and flatSubmit bring what comes of the task, or its error", arguments: TransportKind.here)
    func submit(kind: TransportKind) async throws {
        try await withRingGroup(kind, count: 2) { group in
            let (loop, other) = (group.next(), group.next())
            try await expect(loop.submit { 1 }, is: 1)
            try await expect(loop.flatSubmit { other.makeSucceededFuture(2) }, is: 2)
            await #expect(throws: Refusal.self) { try await loop.submit { throw Refusal() }.get() }
            await #expect(throws: Refusal.self) {
                try await loop.flatSubmit { other.makeFailedFuture(Refusal()) as EventLoopFuture<Int> }.get()
            }
        }
    }

    @Test(
        "the succeeded void future is one and the same on the loop, and a new one elsewhere",
        arguments: TransportKind.here)
    func succeeded(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let loop = group.next()
            let outside = loop.makeSucceededVoidFuture()
            #expect(outside !== loop.makeSucceededFuture(()))
            try await outside.get()
            let (isOne, isOutside) = try await loop.submit {
                let inside = loop.makeSucceededVoidFuture()
                return (inside === loop.makeSucceededFuture(()), inside === outside)
            }.get()
            #expect(isOne && !isOutside)
        }
    }

    @Test("a loop knows its own thread, and no other", arguments: TransportKind.here)
    func inEventLoop(kind: TransportKind) async throws {
        try await withRingGroup(kind, count: 3) { group in
            for loop in group.loops {
                let known = try await loop.submit {
                    group.loops.map { $0.inEventLoop } == group.loops.map { $0 === loop }
                        && RingEventLoop.current === loop
                }.get()
                #expect(known)
                #expect(!loop.inEventLoop)
            }
            let outside = Recorder<RingEventLoop?>()
            Thread.detachNewThread { outside.record(RingEventLoop.current) }
            #expect(try outside.next() == nil)
        }
    }

    @Test("a loop that has ended does not take another's thread for its own", arguments: TransportKind.here)
    func formerThreads(kind: TransportKind) async throws {
        var former: [RingEventLoop] = []
        for _ in 0..<20 {
            let ended = former
            former += try await withRingGroup(kind, count: 2) { group in
                for loop in group.loops {
                    try await expect(loop.submit { ended.allSatisfy { !$0.inEventLoop } && loop.inEventLoop }, is: true)
                }
                return group.loops
            }
        }
    }
}
