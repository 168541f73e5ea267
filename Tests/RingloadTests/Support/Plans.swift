import Testing
import Transport

@testable import TransportTesting
@testable import ringload

extension LoadPlan {
    /// A short run over the given transport. Answers have long enough to come on a busy machine; a test of those that do not
    /// come says half a second.
    static func sample(
        _ kind: Kind = .closed(depth: 1), to target: SocketAddress = .anyLoopback, _ mode: TransportMode = .epoll,
        connections: Int = 1, size: Int = 64, seconds: Double? = 0.4
    ) -> LoadPlan {
        let decision = TransportDecision(transport: mode == .epoll ? .epoll : .ioUring)
        var plan = LoadPlan(
            name: "sample", target: target, transport: decision, connections: connections, active: connections,
            kind: kind, messageSize: size)
        plan.seconds = seconds
        plan.drainSeconds = 20
        return plan
    }

    /// The report of the run.
    func carryOut() throws -> LoadReport {
        try LoadProgram.run(self, progress: { _ in })
    }
}

extension LoadReport {
    /// Of an open loop: every message that was due is one of those that are told, and every second's are among them.
    func expectAddsUp() {
        #expect(tally.due == messages + tally.skipped + UInt64(tally.unanswered), "\(text)")
        #expect(tally.latency.summary.count == messages && tally.late <= tally.due - tally.skipped)
        #expect(seconds.reduce(0) { $0 + $1.flow.messages } + tally.answeredAfterEnd == messages)
        #expect(tally.outstanding == 0)
    }
}

extension TransportMode {
    /// Those that ringload has.
    static let ringload = available.filter { $0 != .incremental }
}

/// How ringload was called, and what it would do.
func plan(_ arguments: String...) throws -> LoadPlan {
    switch try Ringload.parseAsRoot(arguments) {
    case let command as ClosedCommand: try command.plan()
    case let command as OpenCommand: try command.plan()
    case let command as ChurnCommand: try command.plan()
    case let command as IdleCommand: try command.plan()
    case let command as BulkCommand: try command.plan()
    case let other: throw TimedOut(description: "no load: \(other)")
    }
}
