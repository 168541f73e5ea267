import Synchronization

/// Decides which loop of an ``EventLoopGroup`` comes next.
public protocol EventLoopChooser: Sendable {
    /// The index of a loop in `loops`, which are the same at each call. Any thread, several at once.
    func choose(_ loops: [EventLoopRemote]) -> Int
}

/// One loop after the other.
public final class RoundRobinChooser: EventLoopChooser {
    private let count = Atomic<UInt>(0)

    /// Begins with the first loop.
    public init() {}

    /// The loop after the one chosen last.
    public func choose(_ loops: [EventLoopRemote]) -> Int {
        let (count, _) = count.wrappingAdd(1, ordering: .relaxed)
        return Int(count % UInt(loops.count))
    }
}

/// The loop that was least busy lately; among equals one after the other.
public final class LeastBusyChooser: EventLoopChooser {
    private let ranking: Mutex<BusyRanking>

    /// - Parameters:
    ///   - interval: how often the loops' busy time is looked at.
    ///   - charge: what a choice is taken to cost its loop until the next look, so that not everything goes to the
    ///     same one meanwhile.
    public init(interval: Duration = .milliseconds(100), charge: Duration = .milliseconds(1)) {
        precondition(interval > .zero && charge > .zero, "an interval and a charge of more than zero")
        ranking = Mutex(BusyRanking(interval: interval, charge: charge))
    }

    /// Looks at the loops' busy time when that is due.
    public func choose(_ loops: [EventLoopRemote]) -> Int {
        ranking.withLock { $0.choose(busy: loops.map(\.busyNanoseconds), now: .now) }
    }
}

/// Ranks loops by the share of time that they were busy between two looks, plus what has been given to them since.
struct BusyRanking {
    private let interval: Duration
    private let charge: UInt64
    /// Busy time at the last look.
    private var seen: [UInt64] = []
    private var lastLook = MonotonicTime(nanoseconds: 0)
    /// Busy nanoseconds per interval, and charges.
    private var loads: [UInt64] = []
    private var lastChoice = -1

    init(interval: Duration, charge: Duration) {
        self.interval = interval
        self.charge = charge.wholeNanoseconds
    }

    /// - Parameter busy: each loop's busy nanoseconds since it was made.
    mutating func choose(busy: [UInt64], now: MonotonicTime) -> Int {
        look(busy, now)
        // From the one after the last choice on, so that equals take turns.
        var best = (lastChoice + 1) % loads.count
        for step in 1..<max(loads.count, 1) {
            let index = (lastChoice + 1 + step) % loads.count
            if loads[index] < loads[best] { best = index }
        }
        loads[best] = loads[best].addingReportingOverflow(charge).partialValue
        lastChoice = best
        return best
    }

    private mutating func look(_ busy: [UInt64], _ now: MonotonicTime) {
        if seen.count != busy.count {
            seen = busy
            loads = busy.map { _ in 0 }
            lastLook = now
        }
        guard now >= lastLook + interval else { return }
        let elapsed = Double((now - lastLook).wholeNanoseconds)
        for index in busy.indices {
            let share = Double(busy[index] &- seen[index]) / elapsed
            loads[index] = UInt64(min(share, 1) * Double(interval.wholeNanoseconds))
        }
        seen = busy
        lastLook = now
    }
}
