/// What is said while a run goes on: what the time since the last line counted, at most since the phase began.
struct ProgressLine {
    /// Of a bulk run, which has no messages.
    private let isBulk: Bool
    private var last = Tally.Flow()
    private var lastTime: UInt64
    private var phase = RunPhase.opening

    init(start: UInt64, isBulk: Bool) {
        lastTime = start
        self.isBulk = isBulk
    }

    mutating func next(_ tally: Tally, live: Int, now: UInt64) -> String {
        // The measured phase counts anew.
        if tally.phase != phase, tally.phase == .measuring {
            last = Tally.Flow()
            lastTime = tally.windowStart
        }
        let flow = tally.flow - last
        let seconds = Double(now - lastTime) / 1e9
        (last, lastTime, phase) = (tally.flow, now, tally.phase)
        func perSecond(_ count: UInt64) -> Double { seconds > 0 ? Double(count) / seconds : 0 }
        var parts = ["\(live) connections"]
        if tally.phase != .opening {
            if !isBulk { parts.append("\(LoadReport.short(perSecond(flow.messages))) messages/s") }
            parts.append(LoadReport.throughput(perSecond(flow.bytes)))
        }
        if flow.connections > 0 { parts.append("\(LoadReport.short(perSecond(flow.connections))) connections/s") }
        if tally.phase == .warmingUp {
            let sum =
                isBulk
                ? "\(LoadReport.short(Double(tally.flow.bytes) / 1_048_576)) MiB" : "\(tally.flow.messages) messages"
            parts.append("\(sum) so far, which will not count")
        }
        let wrong = tally.failed + tally.lost + Int(clamping: tally.verificationErrors)
        if wrong > 0 { parts.append("\(wrong) went wrong: \(tally.firstError ?? "")") }
        return "\(tally.phase.text): \(parts.joined(separator: ", "))"
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
