import Foundation
import NIOCore
import RingmasterNIO
import Synchronization
import Testing

import enum Transport.TransportKind

@testable import TransportTesting

@Suite("Event loop: scheduled tasks", .timeLimit(.minutes(1)))
struct ScheduledTaskTests {
    @Test(
        "scheduled tasks run by their deadlines and not before, whoever schedules them", arguments: TransportKind.here)
    func order(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let loop = group.next()
            let log = Recorder<Int>()
            let schedule: @Sendable () -> [EventLoopFuture<Void>] = {
                let start = NIODeadline.now()
                return [30, 10, 20, 0, 25].map { milliseconds in
                    loop.scheduleTask(deadline: start + .milliseconds(Int64(milliseconds))) {
                        #expect(loop.inEventLoop)
                        #expect(NIODeadline.now() >= start + .milliseconds(Int64(milliseconds)))
                        log.record(milliseconds)
                    }.futureResult
                }
            }
            for future in schedule() { try await future.get() }
            for future in try await loop.submit(schedule).get() { try await future.get() }
            #expect(log.all == [0, 10, 20, 25, 30, 0, 10, 20, 25, 30])
        }
    }

    @Test("those of one deadline run in the order in which they were scheduled", arguments: TransportKind.here)
    func oneDeadline(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let loop = group.next()
            let log = Recorder<Int>()
            let deadline = NIODeadline.now() + .milliseconds(30)
            for number in 0..<100 { loop.scheduleTask(deadline: deadline) { log.record(number) } }
            try await loop.submit {
                for number in 100..<200 { loop.scheduleTask(deadline: deadline) { log.record(number) } }
            }.get()
            try log.wait { $0.count == 200 }
            #expect(log.all == Array(0..<200))
        }
    }

    @Test("a deadline that has passed is for the next turn", arguments: TransportKind.here)
    func passed(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let loop = group.next()
            try await expect(loop.scheduleTask(deadline: .distantPast) { 1 }.futureResult, is: 1)
            try await expect(loop.scheduleTask(in: .seconds(-5)) { 2 }.futureResult, is: 2)
            let third = try await loop.submit { loop.scheduleTask(in: .zero) { 3 } }.get()
            try await expect(third.futureResult, is: 3)
        }
    }

    @Test("a task that throws fails its future", arguments: TransportKind.here)
    func throwing(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let future = group.next().scheduleTask(in: .milliseconds(1)) { throw Refusal() }.futureResult
            await #expect(throws: Refusal.self) { try await future.get() }
            let flat = group.next().flatScheduleTask(in: .milliseconds(1)) { group.next().makeSucceededFuture(4) }
            try await expect(flat.futureResult, is: 4)
        }
    }

    @Test(
        "a timer of another thread that is earlier than all others wakes the loop in time",
        arguments: TransportKind.here)
    func wakes(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let loop = group.next()
            let late = loop.scheduleTask(in: .hours(1)) {}
            try await loop.submit {}.get()
            try await loop.scheduleTask(in: .milliseconds(5)) {}.futureResult.get()
            late.cancel()
        }
    }

    @Test(
        "cancelled at once, on the loop or elsewhere, it never runs, and lets go of what it holds",
        arguments: TransportKind.here)
    func cancelledAtOnce(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let loop = group.next()
            let gone = Counter()
            let make: @Sendable () -> EventLoopFuture<Void> = {
                let tracer = Tracer(gone)
                let scheduled = loop.scheduleTask(in: .milliseconds(1)) {
                    _ = Issue.record("cancelled, and yet it ran: \(tracer)")
                }
                scheduled.cancel()
                return scheduled.futureResult
            }
            for future in [make(), try await loop.submit(make).get()] {
                await #expect(throws: EventLoopError.cancelled) { try await future.get() }
            }
            try eventually { gone.value == 2 }
            try await loop.scheduleTask(in: .milliseconds(5)) {}.futureResult.get()
        }
    }

    @Test(
        "a task that brings a future is cancelled like any other; when it has run, the future's result is dropped",
        arguments: TransportKind.here)
    func flatCancelled(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let loop = group.next()
            let gone = Counter()
            let make: @Sendable (TimeAmount) -> Scheduled<Int> = { delay in
                let tracer = Tracer(gone)
                return loop.flatScheduleTask(in: delay) {
                    Issue.record("cancelled, and yet it ran: \(tracer)")
                    return loop.makeSucceededFuture(0)
                }
            }
            let cancel: @Sendable () -> EventLoopFuture<Int> = {
                let scheduled = make(.milliseconds(1))
                scheduled.cancel()
                return scheduled.futureResult
            }
            let waiting = make(.hours(1))
            try await loop.scheduleTask(in: .milliseconds(2)) {}.futureResult.get()
            waiting.cancel()
            for future in [waiting.futureResult, cancel(), try await loop.submit(cancel).get()] {
                await #expect(throws: EventLoopError.cancelled) { try await future.get() }
            }
            try eventually { gone.value == 3 }

            let inner = loop.makePromise(of: Int.self)
            let ran = Counter()
            let running = loop.flatScheduleTask(in: .zero) {
                ran.increment()
                return inner.futureResult
            }
            try eventually { ran.value == 1 }
            running.cancel()
            inner.succeed(7)
            await #expect(throws: EventLoopError.cancelled) { try await running.futureResult.get() }
        }
    }

    @Test("cancelled while it waits, it lets go of what it holds, and others still run", arguments: TransportKind.here)
    func cancelledLater(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let loop = group.next()
            let gone = Counter()
            func make(_ tracer: Tracer) -> Scheduled<Void> {
                loop.scheduleTask(in: .hours(1)) { withExtendedLifetime(tracer) {} }
            }
            let scheduled = make(Tracer(gone))
            let later = loop.scheduleTask(in: .hours(2)) {}
            try await loop.submit {}.get()
            scheduled.cancel()
            try eventually { gone.value == 1 }
            await #expect(throws: EventLoopError.cancelled) { try await scheduled.futureResult.get() }
            try await loop.scheduleTask(in: .milliseconds(1)) {}.futureResult.get()
            later.cancel()
        }
    }

    @Test("one that has run lets go of what it holds, and cancelling it changes nothing", arguments: TransportKind.here)
    func cancelledAfterwards(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let loop = group.next()
            let gone = Counter()
            func make(_ tracer: Tracer) -> Scheduled<Int> {
                loop.scheduleTask(in: .milliseconds(1)) { withExtendedLifetime(tracer) { 5 } }
            }
            let scheduled = make(Tracer(gone))
            try await expect(scheduled.futureResult, is: 5)
            try eventually { gone.value == 1 }
            scheduled.cancel()
            try await loop.submit { scheduled.cancel() }.get()
            try await expect(scheduled.futureResult, is: 5)
        }
    }

    @Test("cancelled by one that is due in the same turn, it does not run", arguments: TransportKind.here)
    func cancelledByNeighbour(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let loop = group.next()
            let second = try await loop.submit {
                let deadline = NIODeadline.now() + .milliseconds(1)
                let box = NIOLoopBoundBox<Scheduled<Void>?>(nil, eventLoop: loop)
                loop.scheduleTask(deadline: deadline) { box.value?.cancel() }
                let second = loop.scheduleTask(deadline: deadline) { _ = Issue.record("cancelled, and yet it ran") }
                box.value = second
                return second
            }.get()
            await #expect(throws: EventLoopError.cancelled) { try await second.futureResult.get() }
        }
    }

    @Test(
        "of scheduling and cancelling on many threads, each task runs or is cancelled, once",
        arguments: TransportKind.here)
    func race(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let loop = group.next()
            let (ran, kept, cancelled) = (Counter(), Counter(), Counter())
            let (threads, tasks) = (4, 500)
            try onThreads(threads) { thread in
                for number in 0..<tasks {
                    let scheduled = loop.scheduleTask(in: .microseconds(Int64(number % 50))) { _ = ran.increment() }
                    scheduled.futureResult.whenComplete { result in
                        if case .success = result { kept.increment() } else { cancelled.increment() }
                    }
                    if (number + thread) % 2 == 0 { scheduled.cancel() }
                }
            }
            try eventually { kept.value + cancelled.value == threads * tasks }
            // One whose cancellation came while it was due has run, but nobody is told of it.
            #expect(ran.value >= kept.value && kept.value >= threads * tasks / 2)
        }
    }

    @Test("the distant future never comes, and the loop ends without it", arguments: TransportKind.here)
    func distantFuture(kind: TransportKind) async throws {
        let failed = Recorder<Bool>()
        try await withRingGroup(kind) { group in
            let loop = group.next()
            let cancelled = loop.scheduleTask(in: .nanoseconds(.max)) {}
            let never = loop.scheduleTask(deadline: .distantFuture) { _ = Issue.record("it has come") }
            try await loop.scheduleTask(in: .milliseconds(2)) {}.futureResult.get()
            cancelled.cancel()
            await #expect(throws: EventLoopError.cancelled) { try await cancelled.futureResult.get() }
            never.futureResult.whenFailure { failed.record($0 as? EventLoopError == .shutdown) }
        }
        #expect(failed.all == [true])
    }

    @Test("immediate and scheduled tasks in any mixture all run", arguments: TransportKind.here)
    func mixture(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let loop = group.next()
            let ran = Counter()
            let add: @Sendable () -> Void = {
                for number in 0..<20_000 {
                    switch number % 3 {
                    case 0: loop.execute { ran.increment() }
                    case 1: loop.scheduleTask(in: .microseconds(Int64(number % 100))) { _ = ran.increment() }
                    default: loop.scheduleTask(in: .zero) { loop.execute { ran.increment() } }
                    }
                }
            }
            add()
            loop.execute(add)
            try eventually(within: 30) { ran.value == 40_000 }
        }
    }

    // MARK: Repeated tasks

    @Test("a repeated task runs until it is cancelled, on the loop, which is told once", arguments: TransportKind.here)
    func repeated(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let loop = group.next()
            let (ran, told) = (Counter(), loop.makePromise(of: Void.self))
            loop.scheduleRepeatedTask(initialDelay: .milliseconds(1), delay: .milliseconds(1)) { task in
                #expect(loop.inEventLoop)
                if ran.increment() == 3 { task.cancel(promise: told) }
            }
            try await told.futureResult.get()
            try await loop.scheduleTask(in: .milliseconds(10)) {}.futureResult.get()
            #expect(ran.value == 3)
        }
    }

    @Test("a repeated task is cancelled by another thread, at once too", arguments: TransportKind.here)
    func repeatedCancelled(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let loop = group.next()
            let never = loop.scheduleRepeatedTask(initialDelay: .zero, delay: .zero) { _ in }
            let told = loop.makePromise(of: Void.self)
            never.cancel(promise: told)
            try await told.futureResult.get()
            let ran = Counter()
            let running = loop.scheduleRepeatedTask(initialDelay: .zero, delay: .milliseconds(1)) { _ in ran.increment()
            }
            try eventually { ran.value >= 2 }
            let toldToo = loop.makePromise(of: Void.self)
            running.cancel(promise: toldToo)
            try await toldToo.futureResult.get()
            let count = ran.value
            try await loop.scheduleTask(in: .milliseconds(10)) {}.futureResult.get()
            #expect(ran.value == count)
        }
    }

    @Test("a repeated asynchronous task waits for its future, of another group too", arguments: TransportKind.here)
    func repeatedAsync(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            try await withRingGroup(kind) { others in
                let (loop, other) = (group.next(), others.next())
                let (ran, overlapping, told) = (Counter(), Counter(), loop.makePromise(of: Void.self))
                let isWaiting = SharedFlag(false)
                loop.scheduleRepeatedAsyncTask(initialDelay: .zero, delay: .zero) { task in
                    if isWaiting.value { overlapping.increment() }
                    isWaiting.value = true
                    if ran.increment() == 3 { task.cancel(promise: told) }
                    return other.scheduleTask(in: .milliseconds(2)) { isWaiting.value = false }.futureResult
                }
                try await told.futureResult.get()
                #expect(ran.value == 3 && overlapping.value == 0)
            }
        }
    }
}
