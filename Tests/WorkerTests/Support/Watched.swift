import Foundation

/// A value that one thread changes and another waits for. Waiting is bounded.
final class Watched<Value: Sendable>: Sendable {
    private let condition = NSCondition()
    // Sendable: touched only with the condition's lock held.
    private nonisolated(unsafe) var stored: Value

    init(_ value: Value) { stored = value }

    var value: Value { condition.withLock { stored } }

    func update(_ change: (inout Value) -> Void) {
        condition.withLock {
            change(&stored)
            condition.broadcast()
        }
    }

    @discardableResult
    func wait(for what: String, within seconds: Double = 20, until isMet: (Value) -> Bool) throws -> Value {
        let deadline = Date(timeIntervalSinceNow: seconds)
        condition.lock()
        defer { condition.unlock() }
        while !isMet(stored) {
            guard condition.wait(until: deadline) else {
                throw TimedOut(description: "\(what): not within \(seconds) s; it is \(stored)")
            }
        }
        return stored
    }
}

struct TimedOut: Error, CustomStringConvertible {
    var description: String
}

/// Waits until `condition` holds.
func eventually(_ what: String, within seconds: Double = 20, _ condition: () throws -> Bool) throws {
    let deadline = Date(timeIntervalSinceNow: seconds)
    while try !condition() {
        guard Date() < deadline else { throw TimedOut(description: "\(what): not within \(seconds) s") }
        usleep(1000)
    }
}

/// Work on a thread of its own.
struct Background<Value: Sendable>: Sendable {
    private let result = Watched<Result<Value, any Error>?>(nil)

    init(_ body: @escaping @Sendable () throws -> Value) {
        let result = result
        Thread.detachNewThread {
            let outcome = Result { try body() }
            result.update { $0 = outcome }
        }
    }

    /// What the work returned, when it is done.
    func value() throws -> Value {
        try result.wait(for: "the background thread") { $0 != nil }!.get()
    }
}
