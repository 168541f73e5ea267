/// What is said while a run goes on: what the time since the last line counted.
struct ProgressLine {
    private var last = Tally.Flow()
    private var lastTime: UInt64

    init(start: UInt64) {
        lastTime = start
    }

    mutating func next(_ tally: Tally, live: Int, now: UInt64) -> String {
        // The measured phase counts anew.
        if tally.flow.messages < last.messages || tally.flow.bytes < last.bytes { last = Tally.Flow() }
        let flow = tally.flow - last
        let seconds = Double(now - lastTime) / 1e9
        last = tally.flow
        lastTime = now
        func rate(_ count: UInt64) -> String { LoadReport.short(seconds > 0 ? Double(count) / seconds : 0) }
        let wrong = tally.failed + tally.lost + Int(clamping: tally.verificationErrors)
        return "\(tally.phase.text): \(live) connections, \(rate(flow.messages)) messages/s, "
            + "\(LoadReport.short(seconds > 0 ? Double(flow.bytes) / seconds / 1_048_576 : 0)) MiB/s"
            + (flow.connections > 0 ? ", \(rate(flow.connections)) connections/s" : "")
            + (wrong > 0 ? ", \(wrong) went wrong: \(tally.firstError ?? "")" : "")
    }
}

extension RunPhase {
    fileprivate var text: String {
        switch self {
        case .opening: "opening"
        case .warmingUp: "warming up"
        case .measuring: "measuring"
        case .draining: "draining"
        case .ended: "ended"
        }
    }
}
