import Transport

/// Ends a number of connections evenly over a time. Pure.
struct SpreadEnds {
    private let begin: MonotonicTime
    /// From when on nothing holds an end back.
    let end: MonotonicTime
    private let total: Int
    private var done = 0

    /// Spreads `total` ends over `spread`, which begins now; zero spreads nothing.
    init(_ total: Int, over spread: Duration, now: MonotonicTime) {
        assert(total >= 0)
        self.total = total
        begin = now
        end = now + spread
    }

    /// Whether one more may be ended; if so, it counts as ended.
    mutating func takeTurn(now: MonotonicTime) -> Bool {
        guard now < end else { return true }
        let elapsed = Double((now - begin).wholeNanoseconds)
        let share = elapsed / Double((end - begin).wholeNanoseconds)
        guard Double(done) < Double(total) * share else { return false }
        done += 1
        return true
    }
}
