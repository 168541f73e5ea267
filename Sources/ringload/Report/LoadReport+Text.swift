// The result for people. What was not measured has no line: no zero stands for it.
extension LoadReport {
    var text: String {
        var lines = [headline, connectionLine]
        if hasWindow {
            if isChurn, tally.flow.connections > 0 {
                lines.append(
                    "churn        \(tally.flow.connections) connections done, \(Self.short(perSecond(tally.flow.connections)))/s"
                )
            }
            if !isBulk { lines.append("messages     " + messageText) }
            if isOpenLoop, tally.due > 0 { lines += paceLines }
            if tally.flow.bytes > 0 { lines.append("throughput   " + Self.throughput(perSecond(tally.flow.bytes))) }
            if bytes > 0 { lines.append("verified     " + verificationText) }
            if isChurn { lines += Self.line("connecting   ", tally.connectLatency.summary) }
            if !isBulk { lines += Self.line("latency      ", tally.latency.summary) }
            lines.append("own CPU      " + cpuText)
        }
        if wasInterrupted { lines.append("interrupted before its end") }
        lines += failures.map { "failed       \($0)" }
        if let hint { lines.append("hint         \(hint)") }
        return lines.joined(separator: "\n")
    }

    private var headline: String {
        "\(plan.name) \(plan.target) over \(plan.transport.transport.rawValue): "
            + (hasWindow ? "\(Self.short(measuredSeconds)) s measured" : "nothing measured")
    }

    private var connectionLine: String {
        "connections  \(tally.opened) opened, \(tally.failed) failed, \(tally.lost) lost"
    }

    private var messageText: String {
        var parts: [String] = []
        if messages > 0 {
            let rate = "\(Self.short(perSecond(tally.flow.messages)))/s"
            parts.append(
                tally.answeredAfterEnd > 0
                    ? "\(messages) answered (\(tally.answeredAfterEnd) of them after the end), \(rate) before it"
                    : "\(messages) answered, \(rate)")
        } else {
            parts.append(plan.sendsMessages ? "none answered" : "none were to be sent")
        }
        if tally.unanswered > 0 { parts.append("\(tally.unanswered) never answered") }
        if tally.unansweredWarmup > 0 { parts.append("\(tally.unansweredWarmup) of the warm-up never answered") }
        return parts.joined(separator: ", ")
    }

    private var paceLines: [String] {
        var lines = [
            "pace         \(tally.due) due: \(messages) answered, \(tally.skipped) skipped, \(tally.unanswered) never answered; \(tally.late) sent late"
        ]
        if tally.skipped > 0 {
            lines.append(
                "             skipped: \(plan.depthMax) were unanswered on the connection, or it was lost; latency leaves them out"
            )
        }
        if tally.late > 0 {
            lines.append(
                "             late: ringload itself was more than 1 ms behind; latency counts it; for fewer give a CPU of its own, less "
                    + "load, or several ringloads")
        }
        return lines
    }

    private var verificationText: String {
        plan.verifies ? "\(tally.verificationErrors) errors" : "no: what came back was not compared"
    }

    private var cpuText: String {
        var parts: [String] = []
        if isBulk, let mebibyte = cpuMicrosecondsPerMebibyte { parts.append("\(Self.short(mebibyte)) µs per MiB") }
        if !isChurn, let message = cpuMicrosecondsPerMessage { parts.append("\(Self.short(message)) µs per message") }
        if let connection = cpuMicrosecondsPerConnection {
            parts.append("\(Self.short(connection)) µs per connection\(isChurn ? "" : " opened")")
        }
        parts.append("\(Self.short(Double(measured.total) / 10_000 / measuredSeconds)) % of a processor")
        return parts.joined(separator: ", ")
    }

    /// Nothing when nothing was recorded.
    private static func line(_ name: String, _ latency: LatencySummary) -> [String] {
        guard latency.count > 0 else { return [] }
        let parts = [
            ("min", latency.min), ("p50", latency.p50), ("p90", latency.p90), ("p99", latency.p99),
            ("p99.9", latency.p999), ("max", latency.max),
        ]
        return [
            name + parts.map { "\($0.0) \(short($0.1))" }.joined(separator: "  ") + " µs"
                + (latency.clamped > 0 ? " (\(latency.clamped) took more than a minute)" : "")
        ]
    }

    /// In the unit in which it is not 0.0.
    static func throughput(_ bytesPerSecond: Double) -> String {
        switch bytesPerSecond {
        case 104_857.6...: "\(short(bytesPerSecond / 1_048_576)) MiB/s"
        case 102.4...: "\(short(bytesPerSecond / 1024)) KiB/s"
        default: "\(short(bytesPerSecond)) B/s"
        }
    }

    /// One decimal below 1000, none above.
    static func short(_ value: Double) -> String {
        guard value < 1000 else { return "\(UInt64(value.rounded()))" }
        return "\((value * 10).rounded() / 10)"
    }
}
