import NIOCore
import RingmasterNIO
import Testing

import enum Transport.TransportKind

@testable import TransportTesting

/// Not `Sendable`.
private final class LocalValue {
    var number: Int
    init(_ number: Int = 5) { self.number = number }
}

@Suite("Event loop: the isolated views of promises and futures", .timeLimit(.minutes(1)))
struct IsolatedViewTests {
    /// Whether a view is had with a look at the thread, or without.
    enum View: CaseIterable {
        case checked, unchecked

        func of<Value>(_ promise: EventLoopPromise<Value>) -> EventLoopPromise<Value>.Isolated {
            self == .checked ? promise.assumeIsolated() : promise.assumeIsolatedUnsafeUnchecked()
        }

        func of<Value>(_ future: EventLoopFuture<Value>) -> EventLoopFuture<Value>.Isolated {
            self == .checked ? future.assumeIsolated() : future.assumeIsolatedUnsafeUnchecked()
        }

        func of(_ loop: any EventLoop) -> NIOIsolatedEventLoop {
            self == .checked ? loop.assumeIsolated() : loop.assumeIsolatedUnsafeUnchecked()
        }
    }

    private static func onLoop(
        _ kind: TransportKind, _ body: @escaping @Sendable (any EventLoop) -> EventLoopFuture<Int>
    ) async throws -> Int {
        try await withRingGroup(kind) { group in
            let loop = group.next()
            return try await loop.flatSubmit { body(loop) }.get()
        }
    }

    @Test(
        "a promise is completed with a value that is not Sendable, or with a result that has one",
        arguments: across(TransportKind.here, View.allCases))
    func completing(kind: TransportKind, view: View) async throws {
        let sum = try await Self.onLoop(kind) { loop in
            let (value, result) = (LocalValue(1), LocalValue(2))
            let (first, second) = (loop.makePromise(of: LocalValue.self), loop.makePromise(of: LocalValue.self))
            view.of(first).succeed(value)
            view.of(second).completeWith(.success(result))
            let firstNumber = view.of(first.futureResult).map { received in
                #expect(received === value && loop.inEventLoop)
                return received.number
            }.nonisolated()
            let secondNumber = view.of(second.futureResult).map { received in
                #expect(received === result)
                return received.number
            }.nonisolated()
            return firstNumber.and(secondNumber).map { $0 + $1 }
        }
        #expect(sum == 3)
    }

    @Test("the views of one loop, promise or future give it back", arguments: across(TransportKind.here, View.allCases))
    func backAndForth(kind: TransportKind, view: View) async throws {
        let number = try await Self.onLoop(kind) { loop in
            let promise = loop.makePromise(of: LocalValue.self)
            #expect(view.of(promise).nonisolated() == promise)
            #expect(view.of(promise.futureResult).nonisolated() == promise.futureResult)
            #expect(view.of(loop).nonisolated() === loop)
            view.of(promise).succeed(LocalValue(7))
            return view.of(promise.futureResult).map(\.number).nonisolated()
        }
        #expect(number == 7)
    }

    @Test(
        "every way of chaining futures takes closures that are not Sendable",
        arguments: across(TransportKind.here, View.allCases))
    func chaining(kind: TransportKind, view: View) async throws {
        let number = try await Self.onLoop(kind) { loop in
            let value = LocalValue()
            let promise = loop.makePromise(of: LocalValue.self)
            let succeeded = view.of(promise.futureResult).flatMap { _ in
                loop.makeSucceededFuture(value.number - 1)
            }.map { number in
                #expect(number == 4)
                return value
            }.flatMapThrowing { received in
                #expect(received === value)
                return LocalValue(6)
            }.flatMapResult { received -> Result<LocalValue, any Error> in
                #expect(received !== value && received.number == 6)
                return .failure(Refusal())
            }.recover { error in
                #expect(error is Refusal)
                return value
            }.always { result in
                #expect((try? result.get()) === value)
            }
            let failed = succeeded.flatMapThrowing { _ -> LocalValue in
                value.number += 1
                throw Refusal()
            }
            failed.whenFailure { error in
                #expect(error is Refusal && value.number == 6)
            }
            let mended = failed.flatMapErrorThrowing { _ in value }.map { $0.number }
            let other = failed.map { $0.number }.flatMapError { _ in
                loop.makeSucceededIsolatedFuture(value.number + 10)
            }
            let unwrapped = succeeded.map { _ -> LocalValue? in nil }.unwrap(orReplace: value)
                .map { _ -> LocalValue? in nil }.unwrap(orElse: { value }).map { $0.number }
            view.of(promise).succeed(value)
            return EventLoopFuture.reduce(
                0, [mended.nonisolated(), other.nonisolated(), unwrapped.nonisolated()], on: loop, +)
        }
        #expect(number == 6 + 16 + 6)
    }

    @Test(
        "what the loop's view is given runs there, and its results may be anything",
        arguments: across(TransportKind.here, View.allCases))
    func loopView(kind: TransportKind, view: View) async throws {
        let sum = try await Self.onLoop(kind) { loop in
            let value = LocalValue(4)
            let isolated = view.of(loop)
            isolated.execute {
                #expect(loop.inEventLoop && value.number == 4)
                value.number = 5
            }
            let make: () -> LocalValue = { LocalValue(value.number + 1) }
            let deadline = NIODeadline.now() + .milliseconds(2)
            let numbers = [
                isolated.submit(make).assumeIsolated().map { $0.number }.nonisolated(),
                isolated.scheduleTask(deadline: deadline, make).futureResult.assumeIsolated().map { $0.number }
                    .nonisolated(),
                isolated.scheduleTask(in: .milliseconds(2), make).futureResult.assumeIsolated().map { $0.number }
                    .nonisolated(),
                isolated.flatScheduleTask(deadline: deadline) { loop.makeSucceededFuture(value.number + 1) }
                    .futureResult,
            ]
            return EventLoopFuture.reduce(into: 0, numbers, on: loop) { $0 += $1 }
        }
        #expect(sum == 4 * 6)
    }
}
