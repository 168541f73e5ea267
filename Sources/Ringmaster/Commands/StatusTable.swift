import Supervisor

/// A status for a person at a terminal of 80 columns.
enum StatusTable {
    private static let widthMax = 80

    /// The lines, without line feeds. What workers have written is shown with its control characters escaped: it must not
    /// steer the operator's terminal.
    static func lines(_ status: StatusReport, now: Int64) -> [String] {
        var lines = summary(status, now: now)
        lines += [""] + workers(status) + [""] + listeners(status)
        let counters = counters(status)
        if !counters.isEmpty { lines += [""] + counters }
        for words in status.lastWords { lines += [""] + lastWords(words, now: now) }
        return lines
    }

    private static func summary(_ status: StatusReport, now: Int64) -> [String] {
        let pool = status.pool
        let age = duration(Double(max(0, now - status.startedAt)))
        var lines = [
            "\(status.name) \(status.version), pid \(status.pid), \(status.transport), up \(age)",
            "\(pool.phase), generation \(pool.generation), workers wanted: \(pool.wanted), "
                + "sockets that wait for a worker: \(pool.pending)",
        ]
        if pool.degraded { lines.append("DEGRADED: too many workers died; they start again slowly, one at a time") }
        let limit: String? =
            switch pool.full {
            case .connectionsMax?: "--max-connections"
            case .openFiles?: "RLIMIT_NOFILE"
            case nil: nil
            }
        if let limit {
            // How many there are, not the limit: an upgrade can have lowered it below that.
            let connections = pool.workers.reduce(0) { $0 + $1.live + $1.inflight }
            lines.append("FULL at \(connections) connections: new clients wait; \(limit) allows no more")
        }
        switch pool.lastReplacement {
        case .done(let text)?: lines.append("last replacement: done: \(visible(text))")
        case .refused(let text)?: lines.append("last replacement: refused: \(visible(text))")
        case .failed(let text)?: lines.append("last replacement: FAILED: \(visible(text))")
        case nil: break
        }
        return lines
    }

    private static func workers(_ status: StatusReport) -> [String] {
        var table = TextTable([
            ("SLOT", .right), ("PID", .right), ("GENERATION", .right), ("STATE", .left), ("FOR", .right),
            ("LIVE", .right), ("IN FLIGHT", .right), ("RESTARTS", .right),
        ])
        let processes = Dictionary(status.processes.map { ($0.slot, $0.pid) }) { $1 }
        for worker in status.pool.workers {
            table.add([
                "\(worker.slot)", processes[worker.slot].map { "\($0)" } ?? "-", "\(worker.generation)", worker.state,
                duration(worker.sinceSeconds), "\(worker.live)", "\(worker.inflight)", "\(worker.restarts)",
            ])
        }
        return table.lines
    }

    private static func listeners(_ status: StatusReport) -> [String] {
        var table = TextTable([("QUEUE", .right), ("LIMIT", .right), ("DROPS", .right), ("LISTENER", .left)])
        func text(_ value: Int?) -> String { value.map { "\($0)" } ?? "-" }
        for listener in status.listeners {
            var name = visible(listener.address)
            if let depth = listener.acceptQueue, let limit = listener.acceptQueueMax, depth > limit {
                name += "  FULL"
            }
            table.add([text(listener.acceptQueue), text(listener.acceptQueueMax), text(listener.drops), name])
        }
        return table.lines + (status.listenersProblem.map { ["accept queues: \(visible($0))"] } ?? [])
    }

    /// The supervisor's counters that have counted something, and the sums of the workers'.
    private static func counters(_ status: StatusReport) -> [String] {
        return line("supervisor", status.pool.counters) + line("workers", status.counters)
    }

    /// `title: name 1, name 2`, folded.
    private static func line(_ title: String, _ counters: [String: UInt64]) -> [String] {
        let items = counters.filter { $0.value != 0 }.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }
        guard !items.isEmpty else { return [] }
        var lines = ["\(title):"]
        for (index, item) in items.enumerated() {
            let text = index < items.count - 1 ? "\(item)," : item
            if lines[lines.count - 1].count + 1 + text.count > widthMax { lines.append(" ") }
            lines[lines.count - 1] += " \(text)"
        }
        return lines
    }

    private static func lastWords(_ words: LastWords, now: Int64) -> [String] {
        let age = duration(Double(max(0, now - words.endedAt)))
        let title = "slot \(words.slot): pid \(words.pid) ended \(age) ago by \(visible(words.ending))"
        let text = words.text.split(separator: "\n").map { "  " + visible(String($0)) }
        return text.isEmpty ? [title] : ["\(title), and had said:"] + text
    }

    /// `45 s`, `12 min`, `3 h 5 min`, `4 d 7 h`: the two greatest units that count.
    static func duration(_ seconds: Double) -> String {
        let whole = seconds.isFinite ? Int(min(max(0, seconds), 1e12)) : 0
        switch whole {
        case ..<60: return "\(whole) s"
        case ..<3_600: return "\(whole / 60) min"
        case ..<86_400: return "\(whole / 3_600) h \(whole / 60 % 60) min"
        default: return "\(whole / 86_400) d \(whole / 3_600 % 24) h"
        }
    }

    /// `text` in one line, control characters as `\u{1b}`.
    static func visible(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            if scalar.properties.generalCategory == .control {
                result += "\\u{\(String(scalar.value, radix: 16))}"
            } else {
                result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
