import Testing
import Transport

@testable import TransportTesting
@testable import ringload

@Suite("load on servers that fail")
struct FaultTests {
    private func run(
        _ behaviour: Behaviour, _ mode: TransportMode, _ kind: LoadPlan.Kind = .closed(depth: 2),
        drainSeconds: Double = 20
    ) throws -> LoadReport {
        let server = try FaultyServer(behaviour)
        var plan = LoadPlan.sample(kind, to: server.address, mode, connections: 3)
        plan.drainSeconds = drainSeconds
        let report = try plan.carryOut()
        try server.join()
        #expect(report.exitCode == 1)
        return report
    }

    @Test("one bit changed is found, and told with its place", arguments: TransportMode.ringload)
    func corrupt(mode: TransportMode) throws {
        let report = try run(.corrupt(at: 300), mode)
        #expect(report.tally.verificationErrors == 3)
        #expect(report.tally.firstError?.contains("byte 300 of the answer is not what was sent") == true)
        #expect(report.tally.unanswered == 0 && report.tally.lost == 0)
    }

    @Test("a corrupt stream is found too", arguments: TransportMode.ringload)
    func corruptStream(mode: TransportMode) throws {
        let report = try run(.corrupt(at: 300_000), mode, .bulk(.echo, request: []))
        #expect(report.tally.verificationErrors == 3)
        #expect(report.tally.firstError?.contains("byte 300000 ") == true)
    }

    @Test("without verification nothing is found")
    func unverified() throws {
        let server = try FaultyServer(.corrupt(at: 300))
        var plan = LoadPlan.sample(to: server.address, .usual)
        plan.verifies = false
        let report = try plan.carryOut()
        #expect(report.exitCode == 0 && report.text.contains("was not compared"))
        try server.join()
    }

    @Test("a missing byte is found, and the message that lacks it is never answered", arguments: TransportMode.ringload)
    func missing(mode: TransportMode) throws {
        let report = try run(.drop(at: 300), mode, drainSeconds: 0.5)
        #expect(report.tally.verificationErrors > 0 && report.tally.unanswered >= 3)
    }

    @Test("bytes that nobody sent are found")
    func added() throws {
        let report = try run(.add, .usual, .closed(depth: 1))
        #expect(report.tally.verificationErrors > 0)
        #expect(report.tally.firstError?.contains("more came back") == true)
    }

    @Test("a server that stops answering does not hold up the end", arguments: TransportMode.ringload)
    func stalled(mode: TransportMode) throws {
        let report = try run(.stall, mode, drainSeconds: 0.5)
        #expect(report.tally.unanswered == 6 && report.tally.flow.messages == 0)
        #expect(report.tally.firstError?.contains("6 messages were not back whole 0.5 s after the end") == true)
    }

    @Test("an open loop skips what has no room, counts it, and fails with what to do")
    func skipped() throws {
        let report = try run(.stall, .usual, .open(rate: 1000, backlog: 5), drainSeconds: 0.5)
        report.expectAddsUp()
        #expect(report.tally.unanswered == 15 && report.tally.skipped == report.tally.due - 15)
        #expect(report.text.contains("skipped: 5 were unanswered"))
        #expect(
            report.text.contains(
                "failed       the load was not offered: \(report.tally.skipped) of \(report.tally.due)"))
        #expect(report.text.contains("give a lower --rate, more --connections or a larger --backlog"))
    }

    @Test("skipped messages alone make an open loop fail: all that was sent came back")
    func skippedOnly() throws {
        let report = try run(.delay(200), .usual, .open(rate: 2000, backlog: 2))
        report.expectAddsUp()
        #expect(report.tally.skipped > 0 && report.tally.unanswered == 0 && report.tally.lost == 0)
        #expect(report.failures.count == 1 && report.hint == nil)
    }

    @Test(
        "an open loop's messages that were answered, skipped and never answered add up to those due",
        arguments: [0, 0.1])
    func addsUp(warmupSeconds: Double) throws {
        let server = try FaultyServer(.fallSilent(after: 64 * 100))
        var plan = LoadPlan.sample(.open(rate: 3000, backlog: 40), to: server.address, .usual, connections: 3)
        (plan.drainSeconds, plan.warmupSeconds) = (0.5, warmupSeconds)
        let report = try plan.carryOut()
        report.expectAddsUp()
        #expect(report.tally.skipped > 0 && report.tally.unanswered + report.tally.unansweredWarmup == 120)
        #expect(warmupSeconds > 0 || report.messages == 300)
        try server.join()
    }

    @Test("those of the warm-up that were never answered are told apart")
    func unansweredWarmup() throws {
        let server = try FaultyServer(.stall)
        var plan = LoadPlan.sample(.open(rate: 3000, backlog: 5), to: server.address, .usual, connections: 3)
        (plan.drainSeconds, plan.warmupSeconds) = (0.5, 0.3)
        let report = try plan.carryOut()
        report.expectAddsUp()
        #expect(report.tally.unansweredWarmup == 15 && report.tally.unanswered == 0)
        #expect(report.tally.skipped == report.tally.due && report.exitCode == 1)
        #expect(report.text.contains("none answered, 15 of the warm-up never answered"))
        try server.join()
    }

    @Test("messages on connections that are lost add up too")
    func lostInOpenLoop() throws {
        let report = try run(.reset(after: 640), .usual, .open(rate: 3000, backlog: 40))
        report.expectAddsUp()
        #expect(report.tally.lost == 3)
    }

    @Test("a stream that does not come back does not hold up the end")
    func stalledStream() throws {
        let report = try run(.stall, .usual, .bulk(.echo, request: []), drainSeconds: 0.5)
        #expect(report.tally.unanswered == 3)
    }

    @Test(
        "connections that the server ends are lost, with the cause",
        arguments: across(TransportMode.ringload, [false, true]))
    func ended(mode: TransportMode, byReset: Bool) throws {
        let report = try run(byReset ? .reset(after: 640) : .finish(after: 640), mode)
        #expect(report.tally.lost == 3 && report.tally.unanswered > 0)
        #expect(report.tally.firstError?.contains(byReset ? "reset" : "FIN") == true)
    }

    @Test("in a churn too, and it goes on")
    func endedInChurn() throws {
        let report = try run(.finish(after: 128), .usual, .churn(messages: 4, total: 20, resets: false))
        #expect(report.tally.lost == 20 && report.tally.flow.messages == 20 && report.tally.flow.connections == 0)
    }

    @Test("nobody listens: every attempt is counted", arguments: TransportMode.ringload)
    func refused(mode: TransportMode) throws {
        let report = try LoadPlan.sample(to: try FaultyServer.nobody(), mode, connections: 10).carryOut()
        #expect(report.tally.failed == 10 && report.exitCode == 1 && !report.hasWindow)
        #expect(report.tally.firstError?.contains("Connection refused") == true)
        #expect(
            report.text.hasSuffix(
                """
                : nothing measured
                connections  0 opened, 10 failed, 0 lost
                failed       nothing was measured: no connection was made: \(report.tally.firstError ?? "")
                """))
        #expect(report.text.contains("nobody listens there; start the server first, or name another address"))
        #expect(report.hint == nil)
    }

    @Test("a churn without a server ends after a thousand attempts")
    func refusedChurn() throws {
        let report = try LoadPlan.sample(
            .churn(messages: 1, total: nil, resets: false), to: try FaultyServer.nobody(), .usual, connections: 8,
            seconds: 600
        ).carryOut()
        #expect((1000...1008).contains(report.tally.failed) && report.exitCode == 1)
    }

    @Test("a source address that is not this machine's is told, with what to name")
    func foreignSource() throws {
        var plan = LoadPlan.sample(to: try FaultyServer.nobody())
        plan.sources = SourceRange(parsing: "192.0.2.1")
        let report = try plan.carryOut()
        #expect(report.tally.failed == 1)
        #expect(report.tally.firstError?.contains("--source") == true)
    }
}
