import Foundation
import Synchronization
import Testing

@testable import Transport

/// A loop on a thread of its own. `join` stops it and tells how many channels would not end.
final class LoopThread: Sendable {
    let remote: EventLoopRemote
    private let ended = Recorder<Int>()

    init(_ configuration: EventLoopConfiguration = .init()) throws {
        let made = Recorder<Result<EventLoopRemote, SystemError>>()
        let ended = ended
        Thread.detachNewThread {
            do throws(SystemError) {
                let loop = try EventLoop(configuration)
                made.record(.success(loop.remote))
                ended.record(try loop.run())
            } catch {
                made.record(.failure(error))
                ended.record(-1)
            }
        }
        remote = try made.next().get()
    }

    convenience init(_ mode: TransportMode) throws { try self.init(mode.configuration) }

    deinit {
        // For a test that failed before it joined.
        remote.stop()
    }

    /// Lets the loop go round a few times, and so deal with all that is waiting for it now.
    func settle() throws {
        for _ in 0..<5 { try on { _ in } }
    }

    /// Waits until the loop sleeps: a few turns in a time in which one that spins makes thousands.
    func waitForSleep() throws {
        try eventually("asleep") {
            let before = try on { $0.statistics.turns }
            usleep(50_000)
            return try on { $0.statistics.turns } - before < 10
        }
    }

    /// Runs `body` on the loop's thread and returns what it returns.
    func on<Value: Sendable>(_ body: @escaping @Sendable (EventLoop) -> Value) throws -> Value {
        let result = Recorder<Value>()
        #expect(remote.execute { result.record(body($0)) })
        return try result.next()
    }

    /// Stops the loop; nothing may be left in flight.
    func join() throws {
        remote.stop()
        try waitForEnd()
    }

    /// Waits for a loop that has been asked to end; nothing may be left in flight.
    func waitForEnd() throws {
        #expect(try ended.next() == 0, "channels with operations in flight after the stop timeout")
    }
}

struct TimedOut: Error, CustomStringConvertible {
    var description: String
}

/// Values handed from one thread to another, in order. Waiting is bounded.
final class Recorder<Value: Sendable>: Sendable {
    private let condition = NSCondition()
    // Sendable: touched only with the condition's lock held.
    private nonisolated(unsafe) var values: [Value] = []

    func record(_ value: Value) {
        condition.withLock {
            values.append(value)
            condition.broadcast()
        }
    }

    /// Takes the oldest value, waiting for one.
    func next(within seconds: Double = 10) throws -> Value {
        let deadline = Date(timeIntervalSinceNow: seconds)
        condition.lock()
        defer { condition.unlock() }
        while values.isEmpty {
            guard condition.wait(until: deadline) else { throw TimedOut(description: "nothing within \(seconds) s") }
        }
        return values.removeFirst()
    }

    /// Waits until `isMet` holds for all recorded values, none being taken.
    @discardableResult
    func wait(within seconds: Double = 10, until isMet: ([Value]) -> Bool) throws -> [Value] {
        let deadline = Date(timeIntervalSinceNow: seconds)
        condition.lock()
        defer { condition.unlock() }
        while !isMet(values) {
            guard condition.wait(until: deadline) else {
                throw TimedOut(description: "not within \(seconds) s: \(values)")
            }
        }
        return values
    }

    var all: [Value] { condition.withLock { values } }
}

/// Waits until `condition` holds.
func eventually(within seconds: Double = 10, _ what: String = "condition", _ condition: () throws -> Bool) throws {
    let deadline = Date(timeIntervalSinceNow: seconds)
    while try !condition() {
        if Date() > deadline { throw TimedOut(description: "\(what): not within \(seconds) s") }
        usleep(1000)
    }
}
