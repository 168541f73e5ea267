import Foundation
import NIOCore
import RingmasterNIO
import Testing

import enum Transport.TransportKind

@testable import TransportTesting

/// Not `Sendable`.
private final class LocalValue {
    var number = 1
}

@Suite("Event loop: futures and isolation", .timeLimit(.minutes(1)))
struct FutureTests {
    @Test("callbacks run on the future's loop, whoever completes the promise", arguments: TransportKind.here)
    func completed(kind: TransportKind) async throws {
        try await withRingGroup(kind, count: 2) { group in
            let (loop, other) = (group.next(), group.next())
            let complete: [@Sendable (EventLoopPromise<Int>) -> Void] = [
                { $0.succeed(1) },
                { promise in loop.execute { promise.succeed(1) } },
                { promise in other.execute { promise.succeed(1) } },
                { promise in Thread.detachNewThread { promise.succeed(1) } },
            ]
            for complete in complete {
                let promise = loop.makePromise(of: Int.self)
                let mapped = promise.futureResult.map { number in
                    #expect(loop.inEventLoop)
                    return number + 1
                }
                complete(promise)
                try await expect(mapped, is: 2)
            }
        }
    }

    @Test("futures hop from loop to loop and back, values and errors alike", arguments: TransportKind.here)
    func hopping(kind: TransportKind) async throws {
        try await withRingGroup(kind, count: 4) { group in
            let first = group.loops[0]
            var future = first.makeSucceededFuture(0)
            for round in 0..<100 {
                let loop = group.loops[round % 4]
                future = future.hop(to: loop).flatMap { number in
                    #expect(loop.inEventLoop)
                    return group.loops[(round + 1) % 4].submit { number + 1 }
                }
            }
            try await expect(future, is: 100)
            let failing = future.hop(to: first).flatMapThrowing { _ in throw Refusal() }.hop(to: group.loops[1])
            await #expect(throws: Refusal.self) { try await failing.get() }
        }
    }

    @Test("futures of many loops are gathered on one", arguments: TransportKind.here)
    func gathering(kind: TransportKind) async throws {
        try await withRingGroup(kind, count: 4) { group in
            let loop = group.loops[0]
            let make: () -> [EventLoopFuture<Int>] = {
                (0..<100).map { number in group.loops[number % 4].submit { number } }
            }
            try await expect(EventLoopFuture.whenAllSucceed(make(), on: loop), is: Array(0..<100))
            let sum = loop.makeSucceededFuture(0).fold(make()) { sum, number in
                #expect(loop.inEventLoop)
                return loop.makeSucceededFuture(sum + number)
            }
            try await expect(sum, is: 4950)
            try await expect(EventLoopFuture.reduce(0, make(), on: loop, +), is: 4950)
            let failing = make() + [group.loops[1].makeFailedFuture(Refusal())]
            await #expect(throws: Refusal.self) { try await EventLoopFuture.andAllSucceed(failing, on: loop).get() }
            try await expect(EventLoopFuture.whenAllComplete(failing, on: loop).map(\.count), is: 101)
        }
    }

    @Test("values of many loops are reduced into one value on one loop", arguments: TransportKind.here)
    func reducedInto(kind: TransportKind) async throws {
        try await withRingGroup(kind, count: 4) { group in
            let loop = group.loops[0]
            let numbers = (0..<100).map { number in group.loops[number % 4].submit { number % 10 } }
            let counts = EventLoopFuture.reduce(into: [Int: Int](), numbers, on: loop) { counts, number in
                #expect(loop.inEventLoop)
                counts[number, default: 0] += 1
            }
            try await expect(counts, is: Dictionary(uniqueKeysWithValues: (0..<10).map { ($0, 10) }))
            let failing = numbers + [group.loops[3].submit { throw Refusal() }]
            await #expect(throws: Refusal.self) {
                try await EventLoopFuture.reduce(into: 0, failing, on: loop) { $0 += $1 }.get()
            }
        }
    }

    @Test("the first failure of many loops' futures is told at once, however many go on", arguments: TransportKind.here)
    func failsAtOnce(kind: TransportKind) async throws {
        try await withRingGroup(kind, count: 2) { group in
            let promises = (0..<10).map { group.loops[$0 % 2].makePromise(of: Int.self) }
            let all = EventLoopFuture.whenAllSucceed(promises.map(\.futureResult), on: group.loops[0])
            promises[0].succeed(0)
            promises[7].fail(Refusal())
            await #expect(throws: Refusal.self) { try await all.get() }
            for promise in promises { promise.succeed(1) }
        }
    }

    @Test(
        "the results of many loops' futures are in the order of the futures, failures too",
        arguments: TransportKind.here)
    func allResults(kind: TransportKind) async throws {
        try await withRingGroup(kind, count: 2) { group in
            let promises = (0..<10).map { group.loops[$0 % 2].makePromise(of: Int.self) }
            let all = EventLoopFuture.whenAllComplete(promises.map(\.futureResult), on: group.loops[0])
            for number in promises.indices.reversed() {
                if number % 3 == 0 { promises[number].fail(Refusal()) } else { promises[number].succeed(number) }
            }
            let results = try await all.get()
            #expect(results.map { try? $0.get() } == promises.indices.map { $0 % 3 == 0 ? nil : $0 })
        }
    }

    @Test("two promises of two loops, completed by two threads at once, come together", arguments: TransportKind.here)
    func racing(kind: TransportKind) async throws {
        try await withRingGroup(kind, count: 2) { group in
            for round in 0..<100 {
                let left = group.loops[round % 2].makePromise(of: Int.self)
                let right = group.loops[(round / 2) % 2].makePromise(of: String.self)
                let both = left.futureResult.and(right.futureResult)
                try onThreads(2) { thread in
                    if thread == 0 { left.succeed(7) } else { right.succeed("hello") }
                }
                let result = try await both.get()
                #expect(result == (7, "hello"))
            }
        }
    }

    @Test("asynchronous code becomes a future of the loop", arguments: TransportKind.here)
    func fromTask(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let loop = group.next()
            try await expect(loop.makeFutureWithTask { 42 }, is: 42)
            let failing = loop.makeFutureWithTask { () async throws -> Int in throw Refusal() }
            await #expect(throws: Refusal.self) { try await failing.get() }
        }
    }

    @Test(
        "on the loop, closures and values that are not Sendable may be used in its isolated view",
        arguments: TransportKind.here)
    func isolated(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let loop = group.next()
            let done = loop.makePromise(of: Int.self)
            loop.execute {
                let view = loop.assumeIsolated()
                let value = LocalValue()
                view.execute { value.number += 1 }
                view.submit { value.number += 1 }.assumeIsolated().whenSuccess { value.number += 1 }
                view.scheduleTask(in: .milliseconds(1)) { value.number += 1 }
                view.flatScheduleTask(deadline: .now() + .milliseconds(2)) {
                    value.number += 1
                    return loop.makeSucceededVoidFuture()
                }
                view.scheduleTask(deadline: .now() + .milliseconds(3)) { () throws -> Int in
                    value.number += 1
                    return value.number
                }.futureResult.whenComplete { done.assumeIsolated().completeWith($0) }
            }
            try await expect(done.futureResult, is: 7)
        }
    }

    @Test("values that are bound to the loop may be used there", arguments: TransportKind.here)
    func bound(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let loop = group.next()
            let empty = NIOLoopBoundBox.makeEmptyBox(valueType: LocalValue.self, eventLoop: loop)
            let sent = NIOLoopBoundBox.makeBoxSendingValue(LocalValue(), eventLoop: loop)
            let sendable = NIOLoopBoundBox.makeBoxSendingValue(1, eventLoop: loop)
            let numbers = try await loop.submit {
                empty.value = LocalValue()
                sent.value.number += 1
                sendable.value += 2
                let bound = NIOLoopBound(LocalValue(), eventLoop: loop)
                return [empty.value?.number, sent.value.number, sendable.value, bound.value.number]
            }.get()
            #expect(numbers == [1, 2, 3, 1])
        }
    }

    @Test("values that are bound to the loop may not be used elsewhere")
    func boundElsewhere() async {
        await #expect(processExitsWith: .failure) {
            let loop = try RingEventLoopGroup(numberOfThreads: 1, transport: .epoll).next()
            _ = NIOLoopBoundBox.makeEmptyBox(valueType: Int.self, eventLoop: loop).value
        }
    }
}
