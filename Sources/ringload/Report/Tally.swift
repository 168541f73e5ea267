/// What a run counts while it runs. Kept behind a pointer, where no exclusivity check is made.
struct Tally {
    /// What flowed in a phase: of the whole of it, and taken second by second.
    struct Flow: Equatable {
        /// Messages answered in it; in the measured phase of an open loop only those that were due in it.
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

    /// What can go wrong once a run has begun.
    enum Fault {
        /// An attempt to connect failed.
        case connecting
        /// A connection ended that was not to.
        case loss
        /// Something else came back than what was sent.
        case wrongBytes
        /// A message, or a stream's bytes, never came back.
        case silence
    }

    var phase = RunPhase.opening
    /// Messages that are out.
    var outstanding = 0
    /// The measured phase, in nanoseconds on the monotonic clock.
    var windowStart: UInt64 = .max
    var windowEnd: UInt64 = .max
    /// Of the warm-up while that lasts, then of the measured phase.
    var flow = Flow()
    var latency = LatencyRecord()
    var connectLatency = LatencyRecord()

    // Of the whole run.
    var opened = 0
    var failed = 0
    var lost = 0
    var verificationErrors: UInt64 = 0
    /// Messages that never came back, in an echo of streams connections whose bytes did not. Of an open loop those that were due in
    /// the measured phase; those of the warm-up are in `unansweredWarmup`.
    var unanswered = 0
    var unansweredWarmup = 0
    /// Connections on which the first thing to come back was other bytes than were sent, or the end, or nothing at all.
    var strangers = 0
    /// The first thing that went wrong.
    private(set) var firstError: String?
    /// The first of each kind.
    private(set) var causes: [Fault: String] = [:]

    // Of an open loop: messages that were due in the measured phase. Each is answered in it, answered after its end, skipped, or
    // never answered.
    var due: UInt64 = 0
    var answeredAfterEnd: UInt64 = 0
    var skipped: UInt64 = 0
    /// Of those that were not skipped.
    var late: UInt64 = 0

    /// A message whose latency counts from `time` is answered. `byDueTime`: it is measured if it was due in the measured phase,
    /// whenever it is answered; else if it is answered in it.
    @inline(__always)
    mutating func answered(from time: UInt64, now: UInt64, size: Int, byDueTime: Bool) {
        outstanding &-= 1
        if byDueTime ? isInWindow(time) : phase == .measuring {
            latency.record(from: time, to: now)
            guard phase == .measuring else {
                answeredAfterEnd &+= 1
                return
            }
        } else if phase != .warmingUp {
            return
        }
        flow.messages &+= 1
        flow.bytes &+= UInt64(truncatingIfNeeded: size)
    }

    /// A message that counts from `time` will never be answered.
    mutating func abandoned(from time: UInt64, byDueTime: Bool) {
        outstanding -= 1
        if !byDueTime || isInWindow(time) { unanswered += 1 } else { unansweredWarmup += 1 }
    }

    /// Whether what is due at `time` is the measured phase's. What is due at the very moment at which a phase begins was taken in
    /// the one before.
    @inline(__always)
    func isInWindow(_ time: UInt64) -> Bool { time > windowStart && time <= windowEnd }

    mutating func note(_ fault: Fault, _ error: @autoclosure () -> String) {
        guard causes[fault] == nil else { return }
        let error = error()
        causes[fault] = error
        if firstError == nil { firstError = error }
    }
}
