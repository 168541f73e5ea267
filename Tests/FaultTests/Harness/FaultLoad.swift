import Foundation
import Transport

@testable import IntegrationTesting

/// A running `faultload`: connections that check every byte, and how each one that failed did.
final class FaultLoad {
    enum Mode: String {
        case churn, hold, bulk
    }

    /// What it has counted: see `Fixtures/faultload.c`.
    struct Summary: Decodable {
        var final: Bool
        /// Connections begun, there now, there now with nothing due from the server, and ended as they should.
        var started, live, resting, completed: Int
        /// Messages that came back.
        var messages: Int
        /// Bytes that came back.
        var bytes: Int
        /// Connections that could not be begun for want of ports or descriptors on the client's side.
        var unavailable: Int
        /// Milliseconds that the slowest answer took.
        var longest: Int
        /// Connections that failed, by how.
        var refused, reset, eof, closed, timeout, wrong, extra: Int

        /// Those that were there and were cut: as those of a worker that dies.
        var cut: Int { reset + eof + closed }
        /// Those that failed as none may, whatever dies.
        var broken: Int { refused + timeout + wrong + extra }
    }

    private let process: ChildProcess

    /// Starts a load on a server that listens on 127.0.0.1. The options are those of the C program.
    init(_ mode: Mode, _ address: SocketAddress, _ options: KeyValuePairs<String, Int>) throws {
        guard let port = address.port else { throw HarnessError("\(address) has no port") }
        process = try ChildProcess(Fixture.load.get(), [mode.rawValue, "\(port)"] + options.map { "\($0)=\($1)" })
        try waitForLine("begun")
    }

    /// Waits for one more line that tells of `event` than there were, and returns it.
    @discardableResult
    private func waitForLine(_ event: String, after count: Int = 0) throws -> Substring {
        try IntegrationTesting.wait(for: "`\(event)` of the load; it wrote:\n\(process.errors)") {
            if let ending = process.poll() { throw HarnessError("the load ended: \(ending)\n\(process.errors)") }
            return lines(event).count > count
        }
        return lines(event)[count]
    }

    /// What it has counted by now.
    func summary() throws -> Summary {
        let count = lines("summary").count
        process.signal(SIGUSR1)
        return try decode(waitForLine("summary", after: count))
    }

    /// Waits until what it has counted satisfies `condition`.
    @discardableResult
    func wait(for what: String, within limit: Duration = patience, until condition: (Summary) -> Bool) throws -> Summary
    {
        var latest = try summary()
        try IntegrationTesting.wait(for: "the load to have \(what): \(latest)", within: limit) {
            latest = try summary()
            return condition(latest)
        }
        return latest
    }

    /// Starts nothing more, waits until everything is back, and returns what was counted in all.
    func finish(within limit: Duration = .seconds(60)) throws -> Summary {
        process.signal(SIGTERM)
        guard try process.waitForEnd(within: limit) == .exited(0) else {
            throw HarnessError("the load failed: \(process.errors)")
        }
        guard let last = lines("summary").last else { throw HarnessError("the load said nothing") }
        return try decode(last)
    }

    func kill() { process.kill() }

    /// Runs `body` while it neither reads nor sends: what is on its way to it stays in the buffers between.
    func withStopped(_ body: () throws -> Void) rethrows {
        process.signal(SIGSTOP)
        defer { process.signal(SIGCONT) }
        try body()
    }

    /// Its first failures, for a test's message.
    var failures: String {
        lines("failure").prefix(20).joined(separator: "\n")
    }

    /// The lines that tell of `event`.
    private func lines(_ event: String) -> [Substring] {
        // The last line may not be whole yet.
        process.output.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
            .filter { $0.contains("\"event\":\"\(event)\"") }
    }

    private func decode(_ line: Substring) throws -> Summary {
        try JSONDecoder().decode(Summary.self, from: Data(line.utf8))
    }
}
