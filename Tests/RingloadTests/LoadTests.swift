import Glibc
import Testing
import Transport

@testable import TransportTesting
@testable import ringload

@Suite("load on servers that answer")
struct LoadTests {
    /// 2,000 connections have two ends here, and other tests run at the same time.
    private static let hasManyDescriptors: Bool = {
        var limit = rlimit()
        _ = getrlimit(Int32(RLIMIT_NOFILE.rawValue), &limit)
        return limit.rlim_cur >= 8192
    }()

    private func expectClean(_ report: LoadReport, connections: Int) {
        #expect(report.exitCode == 0, "\(report.text)")
        #expect(report.tally.opened == connections && report.tally.failed == 0 && report.tally.lost == 0)
        #expect(report.tally.firstError == nil && report.tally.outstanding == 0)
    }

    @Test(
        "closed loop: all messages come back, whatever their size and number",
        arguments: across(
            TransportMode.ringload, [(1, 1, 1), (1, 64, 16), (100, 64, 2), (3, 100_000, 4), (2, 2_000_000, 1)]))
    func closed(mode: TransportMode, shape: (Int, Int, Int)) throws {
        let (connections, size, depth) = shape
        let server = try FaultyServer(.echo, mode)
        var plan = LoadPlan.sample(
            .closed(depth: depth), to: server.address, mode, connections: connections, size: size)
        plan.warmupSeconds = 0.05
        let report = try plan.carryOut()
        expectClean(report, connections: connections)
        #expect(report.tally.flow.messages > 0)
        #expect(report.tally.flow.bytes == report.tally.flow.messages * UInt64(size))
        let latency = report.tally.latency.summary
        #expect(latency.count == report.tally.flow.messages && latency.min > 0 && latency.p50 <= latency.p99)
        #expect(report.seconds.reduce(0) { $0 + $1.flow.messages } == report.tally.flow.messages)
        try server.join()
    }

    @Test(
        "2,000 connections", .enabled(if: hasManyDescriptors, "RLIMIT_NOFILE is below 8192"),
        arguments: TransportMode.ringload)
    func manyConnections(mode: TransportMode) throws {
        let server = try FaultyServer(.echo)
        let report = try LoadPlan.sample(to: server.address, mode, connections: 2000, seconds: 0.5).carryOut()
        expectClean(report, connections: 2000)
        #expect(report.tally.connectLatency.summary.count == 2000)
        try server.join()
    }

    @Test("open loop: every message is sent when it is due", arguments: TransportMode.ringload)
    func open(mode: TransportMode) throws {
        let server = try FaultyServer(.echo, mode)
        let report = try LoadPlan.sample(
            .open(rate: 2000, backlog: 1000), to: server.address, mode, connections: 10, seconds: 0.5
        ).carryOut()
        expectClean(report, connections: 10)
        // The clock decides, not the server: as many as the measured time has intervals.
        let expected = report.measuredSeconds * 2000
        #expect(abs(Double(report.tally.due) - expected) <= 2)
        report.expectAddsUp()
        #expect(report.tally.skipped == 0 && report.messages == report.tally.due)
        try server.join()
    }

    @Test("open loop: what was due in the measured phase is counted though answers come after its end")
    func openAnsweredLate() throws {
        let server = try FaultyServer(.delay(1500))
        let report = try LoadPlan.sample(
            .open(rate: 1000, backlog: 1000), to: server.address, .usual, connections: 3, seconds: 0.2
        ).carryOut()
        expectClean(report, connections: 3)
        report.expectAddsUp()
        #expect(report.tally.due > 0 && report.tally.answeredAfterEnd > 0)
        #expect(report.text.contains("(\(report.tally.answeredAfterEnd) of them after the end)"))
        try server.join()
    }

    @Test("open loop: what was due in the warm-up is not counted though its answers come in the measured phase")
    func openWarmup() throws {
        let server = try FaultyServer(.delay(200))
        var plan = LoadPlan.sample(
            .open(rate: 1000, backlog: 1000), to: server.address, .usual, connections: 3, seconds: 0.5)
        plan.warmupSeconds = 0.3
        let report = try plan.carryOut()
        expectClean(report, connections: 3)
        report.expectAddsUp()
        #expect(abs(Double(report.tally.due) - report.measuredSeconds * 1000) <= 2)
        try server.join()
    }

    @Test("open loop: while ringload itself stands still its messages stay due", arguments: TransportMode.ringload)
    func openBehindTime(mode: TransportMode) throws {
        let server = try FaultyServer(.echo, mode)
        var plan = LoadPlan.sample(
            .open(rate: 1000, backlog: 2000), to: server.address, mode, connections: 2, seconds: 0.6)
        // What it says is said on its loop's thread, first as the measured phase begins: nothing goes out meanwhile.
        plan.warmupSeconds = 0.05
        plan.progressSeconds = 60
        var hasStood = false
        let report = try LoadProgram.run(plan) { _ in
            if !hasStood { usleep(300_000) }
            hasStood = true
        }
        expectClean(report, connections: 2)
        let tally = report.tally
        let latency = tally.latency.summary
        // 300 messages were due meanwhile, the first of them 300 ms before it went out; those of its last ms are not late.
        #expect(tally.late >= 297 && tally.skipped == 0 && latency.count == tally.due)
        #expect(latency.max >= 298_000)
        #expect(latency.mean * Double(latency.count) >= 0.95 * 300 * 150_000)
        try server.join()
    }

    @Test("churn: each connection has its messages and its end", arguments: TransportMode.ringload, [false, true])
    func churn(mode: TransportMode, resets: Bool) throws {
        let server = try FaultyServer(.echo, mode)
        var plan = LoadPlan.sample(
            .churn(messages: 3, total: 100, resets: resets), to: server.address, mode, connections: 7, seconds: nil)
        plan.sources = SourceRange(parsing: "127.0.0.2-127.0.0.4")
        let report = try plan.carryOut()
        expectClean(report, connections: 100)
        #expect(report.tally.flow.connections == 100 && report.tally.flow.messages == 300)
        #expect(report.tally.connectLatency.summary.count == 100)
        try server.join()
    }

    @Test("churn for a time, without messages")
    func churnForTime() throws {
        let server = try FaultyServer(.echo)
        let report = try LoadPlan.sample(
            .churn(messages: 0, total: nil, resets: true), to: server.address, .usual, connections: 4
        ).carryOut()
        #expect(report.exitCode == 0 && report.tally.flow.connections > 0, "\(report.text)")
        try server.join()
    }

    @Test("idle: only the active exchange messages; a crowd of idlers is fine", arguments: [0, 3])
    func idle(active: Int) throws {
        let server = try FaultyServer(.echo)
        var plan = LoadPlan.sample(
            .open(rate: Double(active) * 100, backlog: 16), to: server.address, .usual, connections: 50)
        plan.active = active
        let report = try plan.carryOut()
        expectClean(report, connections: 50)
        report.expectAddsUp()
        #expect((report.tally.flow.messages > 0) == (active > 0))
        #expect(report.text.contains("none were to be sent") == (active == 0))
        #expect(report.text.contains("throughput") == (active > 0) && report.text.contains("latency") == (active > 0))
        try server.join()
    }

    @Test(
        "bulk: bytes flow in each direction",
        arguments: across(TransportMode.ringload, [BulkDirection.echo, .send, .receive]))
    func bulk(mode: TransportMode, direction: BulkDirection) throws {
        let behaviour: Behaviour =
            switch direction {
            case .echo: .echo
            case .send: .stall
            case .receive: .flood
            }
        let server = try FaultyServer(behaviour, mode)
        let plan = LoadPlan.sample(.bulk(direction, request: [10]), to: server.address, mode, connections: 3)
        let report = try plan.carryOut()
        expectClean(report, connections: 3)
        #expect(report.tally.flow.bytes > 0)
        try server.join()
    }
}
