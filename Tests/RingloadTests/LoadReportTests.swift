import Foundation
import Testing
import Transport

@testable import ringload

@Suite("results")
struct LoadReportTests {
    private func report(_ change: (inout Tally) -> Void = { _ in }) -> LoadReport {
        var tally = Tally()
        (tally.windowStart, tally.windowEnd, tally.phase, tally.opened) = (5_000_000_000, 7_000_000_000, .measuring, 4)
        for microseconds in 1...1000 as ClosedRange<UInt64> {
            tally.outstanding += 1
            tally.answered(from: 0, now: microseconds * 1000, size: 1_048_576, byDueTime: false)
        }
        change(&tally)
        let second = LoadReport.Second(
            end: 1_000_000_000, flow: Tally.Flow(messages: 400, bytes: 4, connections: 0), cpuMicroseconds: 77)
        return LoadReport(
            plan: .sample(connections: 4), tally: tally, seconds: [second],
            measured: ProcessTime(user: 1500, system: 500),
            opening: ProcessTime(user: 30, system: 10))
    }

    private func json(_ report: LoadReport) throws -> [String: Any] {
        try #require(JSONSerialization.jsonObject(with: Data(report.json.text.utf8)) as? [String: Any])
    }

    @Test("percentiles are those of what was recorded, within a thousandth")
    func percentiles() {
        let latency = report().tally.latency.summary
        func isClose(_ value: Double, _ expected: Double) -> Bool { abs(value - expected) <= expected / 1000 }
        #expect(latency.count == 1000)
        #expect(isClose(latency.min, 1) && isClose(latency.p50, 500) && isClose(latency.p90, 900))
        #expect(isClose(latency.p99, 990) && isClose(latency.p999, 999) && isClose(latency.max, 1000))
        #expect(isClose(latency.mean, 500.5))
    }

    @Test("times that a record cannot hold are clamped and counted")
    func clamped() {
        var record = LatencyRecord()
        record.record(from: 10, to: 10)
        record.record(from: 0, to: 61_000_000_000)
        #expect(record.summary.count == 2 && record.summary.clamped == 1)
        #expect((60_000_000.0...60_100_000).contains(record.summary.max))
        #expect(LatencyRecord().summary == LatencySummary())
    }

    @Test("the text has everything that was counted")
    func text() {
        let text = report().text
        for part in [
            "4 opened, 0 failed, 0 lost", "1000 answered, 500.0/s", "500.0 MiB/s", "0 errors", "p50 500.", "p99.9 999.",
            "2.0 µs per message", "10.0 µs per connection opened", "0.1 % of a processor", "2.0 s measured",
        ] { #expect(text.contains(part), "\(part) in\n\(text)") }
        #expect(!text.contains("failed  "))
    }

    @Test("the JSON has it under names that stay")
    func names() throws {
        let json = try json(report())
        let expected: [String: Double] = [
            "opened": 4, "failed": 0, "lost": 0, "messages": 1000, "messagesPerSecond": 500, "mebibytesPerSecond": 500,
            "bytes": 1_048_576_000, "verificationErrors": 0, "unanswered": 0, "cpuUserMicroseconds": 1500,
            "cpuSystemMicroseconds": 500, "cpuMicrosecondsPerMessage": 2, "cpuMicrosecondsPerConnection": 10,
            "cpuMicrosecondsPerMebibyte": 2, "startNanoseconds": 5_000_000_000, "endNanoseconds": 7_000_000_000,
            "measuredSeconds": 2, "exitCode": 0, "connections": 4, "active": 4, "size": 64, "depth": 1, "due": 0,
            "skipped": 0, "late": 0, "answeredAfterEnd": 0, "unansweredWarmup": 0, "connectionsDone": 0,
            "connectionsPerSecond": 0,
        ]
        for (name, value) in expected { #expect(json[name] as? Double == value, "\(name)") }
        #expect(json["command"] as? String == "sample" && json["loop"] as? String == "epoll")
        #expect(
            json["firstError"] is NSNull && json["failures"] as? [String] == [] && json["interrupted"] as? Bool == false
                && json["verifies"] as? Bool == true)
        let latency = try #require(json["latencyMicroseconds"] as? [String: Double])
        #expect(Set(latency.keys) == ["count", "min", "mean", "p50", "p90", "p99", "p99.9", "max", "clamped"])
        #expect(json["connectMicroseconds"] != nil && json["target"] != nil)
        let seconds = try #require(json["seconds"] as? [[String: Double]])
        #expect(seconds == [["end": 1, "messages": 400, "bytes": 4, "connections": 0, "cpuMicroseconds": 77]])
    }

    @Test("text in JSON is quoted, and a number that is none is null")
    func quoting() throws {
        let value = JSONValue.object([("a\"\\\n\u{1}é", .array([.null, .number(.nan), .number(1.23456), .bool(true)]))])
        #expect(value.text == #"{"a\"\\\n\u0001é":[null,null,1.235,true]}"#)
        #expect((try JSONSerialization.jsonObject(with: Data(value.text.utf8)) as? [String: Any])?.count == 1)
    }

    @Test("the seconds add up to the whole, the last one being what is left")
    func seconds() {
        func flow(_ messages: UInt64) -> Tally.Flow { Tally.Flow(messages: messages) }
        func cpu(_ microseconds: UInt64) -> ProcessTime { ProcessTime(user: microseconds, system: 0) }
        let second: UInt64 = 1_000_000_000
        var sampler = SecondSampler(secondsMax: 3)
        sampler.begin(7, cpu: cpu(100))
        #expect(sampler.next == second + 7)
        sampler.sample(second + 9, cpu: cpu(150), flow: flow(10))
        // The caller was late by more than a second.
        sampler.sample(3 * second + 8, cpu: cpu(160), flow: flow(30))
        #expect(sampler.next == 4 * second + 7)
        sampler.end(3 * second + second / 2 + 7, cpu: cpu(170), flow: flow(31))
        #expect(sampler.total == cpu(70) && sampler.next == .max)
        #expect(sampler.seconds.map(\.flow.messages) == [10, 20, 1])
        #expect(sampler.seconds.map(\.cpuMicroseconds) == [50, 10, 10])
        #expect(sampler.seconds.map(\.end) == [second + 2, 3 * second + 1, 3 * second + second / 2])
        var exact = SecondSampler(secondsMax: 1)
        exact.begin(0, cpu: cpu(0))
        exact.sample(second, cpu: cpu(5), flow: flow(10))
        exact.end(second + 100, cpu: cpu(6), flow: flow(11))
        #expect(exact.seconds == [.init(end: second + 100, flow: flow(11), cpuMicroseconds: 6)], "no second of 100 ns")
    }

    @Test("a rate is told in the unit in which it is not 0.0")
    func throughput() {
        #expect(
            [0.0, 64, 102.4, 2048, 104_857.6, 3 * 1_048_576].map(LoadReport.throughput) == [
                "0.0 B/s", "64.0 B/s", "0.1 KiB/s", "2.0 KiB/s", "0.1 MiB/s", "3.0 MiB/s",
            ])
    }

    @Test("progress tells what the time since the last line counted, and the warm-up as what it is")
    func progress() {
        var line = ProgressLine(start: 0, isBulk: false)
        var tally = Tally()
        #expect(line.next(tally, live: 3, now: 1_000_000_000) == "opening: 3 connections")
        (tally.phase, tally.flow) = (.warmingUp, .init(messages: 500, bytes: 32_000))
        #expect(
            line.next(tally, live: 9, now: 1_500_000_000)
                == "warming up: 9 connections, 1000 messages/s, 62.5 KiB/s, 500 messages so far, which will not count")
        // The measured phase has begun meanwhile, counts anew, and has come further than the warm-up.
        (tally.phase, tally.windowStart) = (.measuring, 1_500_000_000)
        tally.flow = .init(messages: 600, bytes: 1_048_576, connections: 20)
        #expect(
            line.next(tally, live: 9, now: 2_000_000_000)
                == "measuring: 9 connections, 1200 messages/s, 2.0 MiB/s, 40.0 connections/s")
        tally.lost = 2
        tally.note(.loss, "reset")
        #expect(
            line.next(tally, live: 1, now: 3_000_000_000)
                == "measuring: 1 connections, 0.0 messages/s, 0.0 B/s, 2 went wrong: reset")
        var bulk = ProgressLine(start: 0, isBulk: true)
        (tally.phase, tally.flow, tally.lost) = (.warmingUp, .init(bytes: 2 * 1_048_576), 0)
        #expect(
            bulk.next(tally, live: 1, now: 1_000_000_000)
                == "warming up: 1 connections, 2.0 MiB/s, 2.0 MiB so far, which will not count")
    }
}
