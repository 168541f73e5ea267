/// When the messages of an open loop are due: message number n at `start + n / rate`, whatever has become of those before it.
/// That is what corrects for coordinated omission: latency counts from the time here, never from when a busy server or
/// a late generator let the message go out.
struct OpenPacer {
    /// Messages per second of all connections together.
    let rate: Double
    /// Nanoseconds on the monotonic clock: message 0 is due.
    let start: UInt64
    /// The number of the next message that has not been taken.
    private(set) var next: UInt64 = 0

    init(rate: Double, start: UInt64) {
        precondition(rate > 0)
        self.rate = rate
        self.start = start
    }

    /// When message `number` is due. The quotient is taken anew each time, so that no error adds up.
    func dueTime(_ number: UInt64) -> UInt64 {
        start &+ UInt64((Double(number) * 1e9 / rate).rounded())
    }

    var nextDueTime: UInt64 { dueTime(next) }

    /// The next message that is due at `now`, taken; nil when none is.
    mutating func takeDue(_ now: UInt64) -> (number: UInt64, dueTime: UInt64)? {
        let dueTime = nextDueTime
        guard dueTime <= now else { return nil }
        defer { next += 1 }
        return (next, dueTime)
    }
}
