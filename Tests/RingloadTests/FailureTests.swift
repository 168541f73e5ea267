import Testing
import Transport

@testable import TransportTesting
@testable import ringload

@Suite("why a run failed")
struct FailureTests {
    private static let second: UInt64 = 1_000_000_000

    /// A clean run of a second with 10 messages on 4 connections, but for what is changed.
    private func report(_ kind: LoadPlan.Kind = .closed(depth: 1), _ change: (inout LoadReport) -> Void = { _ in })
        -> LoadReport
    {
        var tally = Tally()
        (tally.windowStart, tally.windowEnd, tally.phase, tally.opened) = (1, 1 + Self.second, .measuring, 4)
        tally.flow = .init(messages: 10, bytes: 640, connections: 5)
        if case .open = kind { tally.due = 10 }
        let none = ProcessTime(user: 0, system: 0)
        var report = LoadReport(
            plan: .sample(kind, connections: 4), tally: tally, seconds: [], measured: none, opening: none)
        change(&report)
        return report
    }

    private func expect(
        _ report: LoadReport, says parts: String..., sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(report.exitCode == 1 && !report.failures.isEmpty, sourceLocation: sourceLocation)
        for part in parts {
            #expect(report.text.contains(part), "\(part) in\n\(report.text)", sourceLocation: sourceLocation)
        }
        for failure in report.failures {
            #expect(report.text.contains("\nfailed       \(failure)"), sourceLocation: sourceLocation)
        }
    }

    @Test("a clean run of each kind has no failures, no hint and exit code 0")
    func clean() {
        let kinds: [LoadPlan.Kind] = [
            .closed(depth: 1), .open(rate: 10, backlog: 1), .churn(messages: 1, total: nil, resets: false),
            .bulk(.receive, request: []),
        ]
        for kind in kinds {
            let report = report(kind)
            #expect(report.failures == [] && report.hint == nil && report.exitCode == 0)
        }
    }

    @Test("each thing that went wrong is told with its first cause and a remedy")
    func causes() {
        expect(
            report {
                $0.tally.failed = 2
                $0.tally.note(.connecting, "no way")
                $0.tally.note(.connecting, "another")
            }, says: "2 of 6 attempts to connect failed: no way")
        expect(
            report {
                $0.tally.lost = 2
                $0.tally.note(.loss, "FIN")
            }, says: "2 connections were lost: FIN: see what the server logs")
        expect(
            report {
                $0.tally.verificationErrors = 3
                $0.tally.note(.wrongBytes, "byte 7")
            }, says: "3 times other bytes came back than were sent: byte 7: ", "--no-verify")
        expect(
            report {
                $0.tally.unanswered = 2
                $0.tally.note(.silence, "2 messages were not back")
            }, says: "2 never answered", "2 messages were not back: see whether the server still runs")
        expect(report { $0.tally.unansweredWarmup = 2 }, says: "2 of the warm-up never answered")
        expect(
            report(.open(rate: 10, backlog: 3)) { $0.tally.skipped = 4 },
            says: "4 of 10 messages that were due were not sent, since 3 were unanswered", "the server cannot keep up",
            "a lower --rate")
        expect(
            report(.open(rate: 10, backlog: 3)) {
                ($0.tally.skipped, $0.tally.late, $0.plan.name) = (4, 5, "idle")
            }, says: "or ringload itself (5 were sent late), cannot keep up", "a longer --interval")
    }

    @Test("late messages alone are no failure: they were sent, and latency counts it")
    func late() {
        let report = report(.open(rate: 10, backlog: 3)) { $0.tally.late = 10 }
        #expect(report.exitCode == 0 && report.text.contains("late: ringload itself was more than 1 ms behind"))
        #expect(report.text.contains("for fewer give a CPU of its own, less load, or several ringloads"))
    }

    @Test("nothing measured has its reason and no zeros, whatever the kind")
    func nothingMeasured() {
        func nothing(_ kind: LoadPlan.Kind, _ change: (inout LoadReport) -> Void = { _ in }) -> LoadReport {
            report(kind) {
                ($0.tally.flow, $0.tally.due) = (.init(), 0)
                change(&$0)
            }
        }
        expect(nothing(.closed(depth: 1)), says: "no message was answered in 1.0 s: give more --seconds")
        expect(nothing(.open(rate: 1, backlog: 1)), says: "no message was due in 1.0 s", "a higher --rate")
        expect(
            nothing(.open(rate: 1, backlog: 1)) { ($0.tally.due, $0.tally.skipped) = (5, 5) },
            says: "no message was answered in 1.0 s")
        expect(
            nothing(.open(rate: 1, backlog: 1)) { $0.plan.name = "idle" }, says: "no message was due",
            "a shorter --interval")
        expect(
            nothing(.churn(messages: 9, total: nil, resets: false)),
            says: "no connection got as far as its end in 1.0 s",
            "fewer --messages")
        expect(nothing(.bulk(.echo, request: [])), says: "no byte came back in 1.0 s")
        expect(nothing(.bulk(.send, request: [])), says: "the server took no byte in 1.0 s")
        expect(nothing(.bulk(.receive, request: [])), says: "no byte came from the server in 1.0 s", "--request")
        expect(
            nothing(.closed(depth: 1)) { ($0.wasInterrupted, $0.tally.windowEnd) = (true, .max) },
            says: "interrupted before its end", "before the measured phase began: let it run longer")
        expect(
            nothing(.closed(depth: 1)) {
                $0.tally.windowEnd = .max
                $0.tally.lost = 4
                $0.tally.note(.loss, "FIN")
            }, says: ": nothing measured\n", "no connection was left when the measured phase was to begin",
            "4 connections were lost: FIN")
        for kind in [LoadPlan.Kind.closed(depth: 1), .open(rate: 1, backlog: 1), .bulk(.receive, request: [])] {
            let text = nothing(kind).text
            for line in ["throughput", "latency", "verified", "p50", "MiB/s", " B/s"] { #expect(!text.contains(line)) }
        }
    }

    @Test(
        "a server that is no echo is hinted at, however it answers",
        arguments: [Behaviour.refuse, .greet, .flood, .stall, .finish(after: 1), .reset(after: 1)])
    func noEcho(behaviour: Behaviour) throws {
        let kinds: [LoadPlan.Kind] = [
            .closed(depth: 2), .open(rate: 200, backlog: 16), .churn(messages: 2, total: 20, resets: false),
            .bulk(.echo, request: []),
        ]
        for kind in kinds {
            let server = try FaultyServer(behaviour)
            var plan = LoadPlan.sample(kind, to: server.address, .usual, connections: 3, seconds: 0.2)
            plan.drainSeconds = 0.5
            let report = try plan.carryOut()
            try server.join()
            expect(
                report, says: "hint         is \(server.address) an echo server?",
                "ringmaster echo --listen \(server.address)")
        }
    }

    @Test(
        "one that echoes, and then fails, is not taken for another",
        arguments: [
            Behaviour.corrupt(at: 300), .drop(at: 300), .add, .finish(after: 640), .reset(after: 640),
            .fallSilent(after: 640),
        ])
    func echo(behaviour: Behaviour) throws {
        let server = try FaultyServer(behaviour)
        var plan = LoadPlan.sample(to: server.address, .usual, connections: 3, seconds: 0.2)
        plan.drainSeconds = 0.5
        let report = try plan.carryOut()
        try server.join()
        #expect(report.exitCode == 1 && report.hint == nil, "\(report.text)")
    }

    @Test("a receiving run of a server that sends nothing, or ends, says what to do")
    func receive() throws {
        for (behaviour, parts) in [
            (Behaviour.stall, ["no byte came from the server", "--request"]),
            (.finish(after: 1), ["a server that has sent all closes; ask it for more, give fewer --seconds"]),
        ] {
            let server = try FaultyServer(behaviour)
            let report = try LoadPlan.sample(
                .bulk(.receive, request: [10]), to: server.address, .usual, connections: 2, seconds: 0.2
            ).carryOut()
            try server.join()
            #expect(report.exitCode == 1 && report.hint == nil)
            for part in parts { #expect(report.text.contains(part), "\(report.text)") }
        }
    }
}
