import Foundation
import NIOCore
import RingmasterNIO
import Synchronization
import Testing

import enum Transport.TransportKind

@testable import TransportTesting

/// Counts what it is told of.
private final class CallbackHandler: NIOScheduledCallbackHandler, Sendable {
    let called = Counter()
    let cancelled = Counter()
    private let calledAt = Mutex<[NIODeadline]>([])

    var times: [NIODeadline] { calledAt.withLock { $0 } }

    func handleScheduledCallback(eventLoop: some EventLoop) {
        #expect(eventLoop.inEventLoop)
        calledAt.withLock { $0.append(.now()) }
        called.increment()
    }

    func didCancelScheduledCallback(eventLoop: some EventLoop) {
        #expect(eventLoop.inEventLoop)
        cancelled.increment()
    }
}

@Suite("Event loop: scheduled callbacks", .timeLimit(.minutes(1)))
struct ScheduledCallbackTests {
    @Test("a callback is called once, at its deadline and not before", arguments: TransportKind.here)
    func deadline(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let (loop, handler) = (group.next(), CallbackHandler())
            let deadline = NIODeadline.now() + .milliseconds(20)
            try loop.scheduleCallback(at: deadline, handler: handler)
            try eventually { handler.called.value == 1 }
            #expect(handler.times[0] >= deadline)
            try await loop.scheduleTask(in: .milliseconds(5)) {}.futureResult.get()
            #expect(handler.called.value == 1 && handler.cancelled.value == 0)
        }
    }

    @Test(
        "one handler may have several callbacks, on the loop and elsewhere, and each is cancelled alone",
        arguments: TransportKind.here)
    func severalOfOneHandler(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let (loop, handler) = (group.next(), CallbackHandler())
            try loop.scheduleCallback(in: .milliseconds(1), handler: handler)
            let late = try loop.scheduleCallback(in: .hours(1), handler: handler)
            try await loop.submit { _ = try loop.scheduleCallback(in: .milliseconds(2), handler: handler) }.get()
            late.cancel()
            try eventually { handler.called.value == 2 && handler.cancelled.value == 1 }
        }
    }

    @Test(
        "a cancelled callback's handler is told so once, on the loop, whoever cancels it and however often",
        arguments: TransportKind.here)
    func cancelled(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let (loop, handler) = (group.next(), CallbackHandler())
            let callback = try loop.scheduleCallback(in: .milliseconds(5), handler: handler)
            callback.cancel()
            callback.cancel()
            try await loop.submit {
                callback.cancel()
                let other = try loop.scheduleCallback(in: .milliseconds(5), handler: handler)
                other.cancel()
                #expect(handler.cancelled.value == 2)
                other.cancel()
            }.get()
            try await loop.scheduleTask(in: .milliseconds(10)) {}.futureResult.get()
            #expect(handler.cancelled.value == 2 && handler.called.value == 0)
        }
    }

    @Test("a callback that has been called cannot be cancelled", arguments: TransportKind.here)
    func cancelledAfterwards(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let (loop, handler) = (group.next(), CallbackHandler())
            let callback = try loop.scheduleCallback(in: .milliseconds(1), handler: handler)
            try eventually { handler.called.value == 1 }
            callback.cancel()
            try await loop.submit { callback.cancel() }.get()
            try await loop.submit {}.get()
            #expect(handler.called.value == 1 && handler.cancelled.value == 0)
        }
    }

    @Test(
        "the end cancels what is outstanding, once, and neither what was cancelled nor what was called",
        arguments: TransportKind.here)
    func shutdown(kind: TransportKind) async throws {
        let (outstanding, cancelled, called) = (CallbackHandler(), CallbackHandler(), CallbackHandler())
        let callbacks = try await withRingGroup(kind) { group in
            let loop = group.next()
            let callbacks = [
                try loop.scheduleCallback(in: .hours(1), handler: outstanding),
                try loop.scheduleCallback(at: .distantFuture, handler: outstanding),
                try loop.scheduleCallback(in: .hours(1), handler: cancelled),
                try loop.scheduleCallback(in: .zero, handler: called),
            ]
            callbacks[2].cancel()
            try eventually { called.called.value == 1 && cancelled.cancelled.value == 1 }
            return callbacks
        }
        #expect(outstanding.cancelled.value == 2 && outstanding.called.value == 0)
        for callback in callbacks { callback.cancel() }
        #expect(outstanding.cancelled.value == 2 && cancelled.cancelled.value == 1)
        #expect(called.cancelled.value == 0 && called.called.value == 1)
    }

    @Test("a handler is let go of when it has been called, or told", arguments: TransportKind.here)
    func release(kind: TransportKind) async throws {
        struct Holder: NIOScheduledCallbackHandler {
            let tracer: Tracer
            func handleScheduledCallback(eventLoop: some EventLoop) {}
        }
        try await withRingGroup(kind) { group in
            let (loop, gone) = (group.next(), Counter())
            try loop.scheduleCallback(in: .milliseconds(1), handler: Holder(tracer: Tracer(gone)))
            try loop.scheduleCallback(in: .hours(1), handler: Holder(tracer: Tracer(gone))).cancel()
            try eventually { gone.value == 2 }
        }
    }
}
