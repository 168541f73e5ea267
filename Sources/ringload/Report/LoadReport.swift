/// What a run has come to.
struct LoadReport {
    /// One second of the measured phase, or what was left of it at its end.
    struct Second: Equatable {
        /// Nanoseconds from the start of the measured phase to the end of this part.
        var end: UInt64
        var flow: Tally.Flow
        /// ringload's own processor time.
        var cpuMicroseconds: UInt64
    }

    var plan: LoadPlan
    var tally: Tally
    var seconds: [Second]
    /// Processor time of the measured phase, and of opening the connections before it.
    var measured: ProcessTime
    var opening: ProcessTime
    var wasInterrupted = false

    /// Whether there was a measured phase.
    var hasWindow: Bool { tally.windowStart < tally.windowEnd && tally.windowEnd != .max }
    var measuredSeconds: Double { hasWindow ? Double(tally.windowEnd - tally.windowStart) / 1e9 : 0 }

    func perSecond(_ count: UInt64) -> Double { measuredSeconds > 0 ? Double(count) / measuredSeconds : 0 }

    /// Messages answered: in an open loop those that were due in the measured phase, whenever they were.
    var messages: UInt64 { tally.flow.messages + tally.answeredAfterEnd }
    /// Their bytes, or those that flowed.
    var bytes: UInt64 { tally.flow.bytes + tally.answeredAfterEnd * UInt64(plan.messageSize) }

    var mebibytesPerSecond: Double { perSecond(tally.flow.bytes) / 1_048_576 }

    var cpuMicrosecondsPerMessage: Double? {
        tally.flow.messages > 0 ? Double(measured.total) / Double(tally.flow.messages) : nil
    }

    var cpuMicrosecondsPerMebibyte: Double? {
        tally.flow.bytes > 0 ? Double(measured.total) / (Double(tally.flow.bytes) / 1_048_576) : nil
    }

    /// Of churn the processor time of the measured phase, else of opening.
    var cpuMicrosecondsPerConnection: Double? {
        if isChurn {
            return tally.flow.connections > 0 ? Double(measured.total) / Double(tally.flow.connections) : nil
        }
        return tally.opened > 0 ? Double(opening.total) / Double(tally.opened) : nil
    }

    var isChurn: Bool { if case .churn = plan.kind { true } else { false } }
    var isOpenLoop: Bool { if case .open = plan.kind { true } else { false } }
    var isBulk: Bool { if case .bulk = plan.kind { true } else { false } }

    var exitCode: Int32 { failures.isEmpty ? 0 : 1 }
}
