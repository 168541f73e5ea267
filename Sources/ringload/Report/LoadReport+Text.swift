// The result for people.
extension LoadReport {
    var text: String {
        var lines = [headline, connectionLine]
        if isChurn {
            lines.append(
                "churn        \(tally.flow.connections) connections done, \(Self.short(perSecond(tally.flow.connections)))/s"
            )
        }
        if !isBulk {
            lines.append(
                "messages     \(tally.flow.messages) answered, \(Self.short(perSecond(tally.flow.messages)))/s"
                    + (tally.unanswered > 0 ? ", \(tally.unanswered) never answered" : ""))
        }
        if isOpenLoop { lines += paceLines }
        lines.append("throughput   \(Self.short(mebibytesPerSecond)) MiB/s")
        lines.append(
            "verified     "
                + (plan.verifies ? "\(tally.verificationErrors) errors" : "no: what came back was not compared"))
        if isChurn { lines.append("connecting   " + Self.line(tally.connectLatency.summary)) }
        if !isBulk { lines.append("latency      " + Self.line(tally.latency.summary)) }
        lines.append("own CPU      " + cpuText)
        if wasInterrupted { lines.append("interrupted before its end") }
        if !hasWindow { lines.append("nothing was measured") }
        if let error = tally.firstError { lines.append("first error  \(error)") }
        return lines.joined(separator: "\n")
    }

    private var headline: String {
        "\(plan.name) \(plan.target) over \(plan.transport.transport.rawValue): \(Self.short(measuredSeconds)) s measured"
    }

    private var connectionLine: String {
        "connections  \(tally.opened) opened, \(tally.failed) failed, \(tally.lost) lost"
    }

    private var paceLines: [String] {
        var lines = ["pace         \(tally.due) due, \(tally.skipped) skipped, \(tally.late) sent late"]
        if tally.skipped > 0 {
            lines.append(
                "             skipped: \(plan.depthMax) were unanswered on the connection, or it was lost; latency leaves them out"
            )
        }
        if tally.late > 0 {
            lines.append("             late: ringload itself was more than 1 ms behind; latency counts it")
        }
        return lines
    }

    private var cpuText: String {
        var parts: [String] = []
        if isBulk, let mebibyte = cpuMicrosecondsPerMebibyte { parts.append("\(Self.short(mebibyte)) µs per MiB") }
        if !isChurn, let message = cpuMicrosecondsPerMessage { parts.append("\(Self.short(message)) µs per message") }
        if let connection = cpuMicrosecondsPerConnection {
            parts.append("\(Self.short(connection)) µs per connection\(isChurn ? "" : " opened")")
        }
        let share = measuredSeconds > 0 ? Double(measured.total) / 10_000 / measuredSeconds : 0
        parts.append("\(Self.short(share)) % of a processor")
        return parts.joined(separator: ", ")
    }

    private static func line(_ latency: LatencySummary) -> String {
        let parts = [
            ("min", latency.min), ("p50", latency.p50), ("p90", latency.p90), ("p99", latency.p99),
            ("p99.9", latency.p999), ("max", latency.max),
        ]
        return parts.map { "\($0.0) \(short($0.1))" }.joined(separator: "  ") + " µs"
            + (latency.clamped > 0 ? " (\(latency.clamped) took more than a minute)" : "")
    }

    /// One decimal below 1000, none above.
    static func short(_ value: Double) -> String {
        guard value < 1000 else { return "\(UInt64(value.rounded()))" }
        return "\((value * 10).rounded() / 10)"
    }
}
