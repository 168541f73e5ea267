/// What a run counts while it runs. Kept behind a pointer, where no exclusivity check is made.
struct Tally {
    /// Counts of the measured phase: of the whole of it, and taken second by second.
    struct Flow: Equatable {
        /// Messages answered.
        var messages: UInt64 = 0
        /// Payload bytes that came back, or in a bulk run that flowed.
        var bytes: UInt64 = 0
        /// Connections that were opened, served all their messages and were closed (churn).
        var connections: UInt64 = 0

        static func - (later: Flow, earlier: Flow) -> Flow {
            Flow(
                messages: later.messages - earlier.messages, bytes: later.bytes - earlier.bytes,
                connections: later.connections - earlier.connections)
        }

        static func + (one: Flow, other: Flow) -> Flow {
            Flow(
                messages: one.messages + other.messages, bytes: one.bytes + other.bytes,
                connections: one.connections + other.connections)
        }
    }

    var phase = RunPhase.opening
    /// Messages that are out.
    var outstanding = 0
    /// The measured phase, in nanoseconds on the monotonic clock.
    var windowStart: UInt64 = .max
    var windowEnd: UInt64 = .max
    var flow = Flow()
    var latency = LatencyRecord()
    var connectLatency = LatencyRecord()

    // Of the whole run.
    var opened = 0
    var failed = 0
    var lost = 0
    var verificationErrors: UInt64 = 0
    /// Messages that never came back.
    var unanswered = 0
    /// The first thing that went wrong.
    var firstError: String?

    // Of the measured phase of an open loop.
    var due: UInt64 = 0
    var skipped: UInt64 = 0
    var late: UInt64 = 0

    /// A message whose latency counts from `time` is answered. `byDueTime`: it counts if it was due in the measured phase,
    /// whenever it is answered; else if it is answered in it.
    @inline(__always)
    mutating func answered(from time: UInt64, now: UInt64, size: Int, byDueTime: Bool) {
        outstanding &-= 1
        let isMeasured = phase == .measuring
        if isMeasured {
            flow.messages &+= 1
            flow.bytes &+= UInt64(truncatingIfNeeded: size)
        }
        if byDueTime ? isInWindow(time) : isMeasured { latency.record(from: time, to: now) }
    }

    @inline(__always)
    func isInWindow(_ time: UInt64) -> Bool { time >= windowStart && time < windowEnd }

    mutating func note(_ error: @autoclosure () -> String) {
        if firstError == nil { firstError = error() }
    }
}
