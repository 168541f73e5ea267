// The result for programs. Names, once there, stay.
extension LoadReport {
    var json: JSONValue {
        .object([
            ("command", .string(plan.name)),
            ("target", .string("\(plan.target)")),
            ("loop", .string(plan.transport.transport.rawValue)),
            ("connections", .integer(plan.connections)),
            ("active", .integer(plan.active)),
            ("size", .integer(plan.messageSize)),
            ("depth", .integer(plan.depthMax)),
            ("opened", .integer(tally.opened)),
            ("failed", .integer(tally.failed)),
            ("lost", .integer(tally.lost)),
            ("connectionsDone", .integer(tally.flow.connections)),
            ("connectionsPerSecond", .number(perSecond(tally.flow.connections))),
            ("messages", .integer(messages)),
            ("messagesPerSecond", .number(perSecond(tally.flow.messages))),
            ("bytes", .integer(bytes)),
            ("mebibytesPerSecond", .number(mebibytesPerSecond)),
            ("verifies", .bool(plan.verifies)),
            ("verificationErrors", .integer(tally.verificationErrors)),
            ("unanswered", .integer(tally.unanswered)),
            ("unansweredWarmup", .integer(tally.unansweredWarmup)),
            ("due", .integer(tally.due)),
            ("answeredAfterEnd", .integer(tally.answeredAfterEnd)),
            ("skipped", .integer(tally.skipped)),
            ("late", .integer(tally.late)),
            ("latencyMicroseconds", Self.json(tally.latency.summary)),
            ("connectMicroseconds", Self.json(tally.connectLatency.summary)),
            ("cpuUserMicroseconds", .integer(measured.user)),
            ("cpuSystemMicroseconds", .integer(measured.system)),
            ("cpuMicrosecondsPerMessage", .number(cpuMicrosecondsPerMessage)),
            ("cpuMicrosecondsPerMebibyte", .number(cpuMicrosecondsPerMebibyte)),
            ("cpuMicrosecondsPerConnection", .number(cpuMicrosecondsPerConnection)),
            ("startNanoseconds", .integer(hasWindow ? tally.windowStart : 0)),
            ("endNanoseconds", .integer(hasWindow ? tally.windowEnd : 0)),
            ("measuredSeconds", .number(measuredSeconds)),
            ("seconds", .array(seconds.map(Self.json))),
            ("interrupted", .bool(wasInterrupted)),
            ("firstError", .string(tally.firstError)),
            ("failures", .array(failures.map { .string($0) })),
            ("hint", .string(hint)),
            ("exitCode", .integer(Int(exitCode))),
        ])
    }

    private static func json(_ latency: LatencySummary) -> JSONValue {
        .object([
            ("count", .integer(latency.count)), ("min", .number(latency.min)), ("mean", .number(latency.mean)),
            ("p50", .number(latency.p50)), ("p90", .number(latency.p90)), ("p99", .number(latency.p99)),
            ("p99.9", .number(latency.p999)), ("max", .number(latency.max)), ("clamped", .integer(latency.clamped)),
        ])
    }

    private static func json(_ second: Second) -> JSONValue {
        .object([
            ("end", .number(Double(second.end) / 1e9)), ("messages", .integer(second.flow.messages)),
            ("bytes", .integer(second.flow.bytes)), ("connections", .integer(second.flow.connections)),
            ("cpuMicroseconds", .integer(second.cpuMicroseconds)),
        ])
    }
}
