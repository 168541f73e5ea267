import Testing

@testable import ringload

@Suite("the pace of an open loop")
struct OpenPacerTests {
    @Test("messages are due at their time, however late they are taken")
    func due() {
        var pacer = OpenPacer(rate: 1000, start: 5_000_000)
        #expect(pacer.takeDue(4_999_999) == nil)
        let first = pacer.takeDue(5_000_000)
        #expect(first?.number == 0 && first?.dueTime == 5_000_000)
        #expect(pacer.takeDue(5_999_999) == nil)
        #expect(pacer.nextDueTime == 6_000_000)
        var taken: [UInt64] = []
        while let due = pacer.takeDue(9_500_000) { taken.append(due.dueTime) }
        #expect(taken == [6_000_000, 7_000_000, 8_000_000, 9_000_000])
    }

    @Test("a rate that divides no second adds up no error")
    func noDrift() {
        let pacer = OpenPacer(rate: 3, start: 7)
        #expect(pacer.dueTime(3) == 1_000_000_007)
        #expect(pacer.dueTime(3_000_000) == 1_000_000_000_000_007)
        #expect(OpenPacer(rate: 333_333, start: 0).dueTime(333_333 * 3600) == 3_600_000_000_000)
    }

    @Test("a server that stands still for a second is seen by every message due meanwhile, not by one")
    func coordinatedOmission() {
        // By a scripted clock: 1,000 messages a second for 10 s to a server that answers within 0.1 ms, but for a
        // second in which it does nothing.
        let millisecond: UInt64 = 1_000_000
        let start = 100 * millisecond
        let stall = start + 4000 * millisecond..<start + 5000 * millisecond
        var pacer = OpenPacer(rate: 1000, start: start)
        let lanes = LaneTable(count: 1, size: 1, depthMax: 2000, active: 1)
        var tally = Tally()
        tally.phase = .measuring
        tally.windowStart = start - 1
        var now = start
        while now < start + 10_000 * millisecond {
            while let due = pacer.takeDue(now) {
                lanes[0].pointee.began(due.dueTime)
                tally.outstanding += 1
            }
            now += millisecond / 10
            guard !stall.contains(now) else { continue }
            for _ in 0..<lanes[0].pointee.received(lanes[0].pointee.inFlight).answered {
                tally.answered(from: lanes[0].pointee.takeOldest(), now: now, size: 1, byDueTime: true)
            }
        }
        let summary = tally.latency.summary
        #expect(summary.count == 10_000 && tally.outstanding == 0)
        #expect(summary.p50 <= 101)
        // A tenth of the messages waited, on average half a second. A generator that waits with the server sees one.
        #expect((45_000.0...55_000).contains(summary.mean))
        #expect((880_000.0...920_000).contains(summary.p99))
        #expect((990_000.0...1_001_000).contains(summary.max))
    }

    @Test("a message counts if it was due in the measured phase, though its answer comes later")
    func window() {
        var tally = Tally()
        (tally.windowStart, tally.windowEnd, tally.phase, tally.outstanding) = (1000, 2000, .draining, 5)
        // What is due at the very beginning was taken in the warm-up, what is due at the very end in the measured phase.
        for due in [1000, 2000, 2001] as [UInt64] { tally.answered(from: due, now: 3000, size: 1, byDueTime: true) }
        #expect(tally.latency.summary.count == 1 && tally.answeredAfterEnd == 1 && tally.flow.messages == 0)
        tally.abandoned(from: 1000, byDueTime: true)
        tally.abandoned(from: 1001, byDueTime: true)
        #expect(tally.unansweredWarmup == 1 && tally.unanswered == 1 && tally.outstanding == 0)
    }

    @Test("an answer in the measured phase to a message of the warm-up is not measured")
    func warmup() {
        var tally = Tally()
        (tally.phase, tally.outstanding) = (.warmingUp, 3)
        tally.answered(from: 500, now: 600, size: 1, byDueTime: true)
        // For who watches: it is counted anew when the measured phase begins.
        #expect(tally.flow.messages == 1 && tally.latency.summary.count == 0)
        (tally.windowStart, tally.phase, tally.flow) = (1000, .measuring, .init())
        tally.answered(from: 900, now: 1100, size: 1, byDueTime: true)
        #expect(tally.flow.messages == 0 && tally.latency.summary.count == 0)
        tally.answered(from: 1001, now: 1100, size: 1, byDueTime: true)
        #expect(tally.flow.messages == 1 && tally.latency.summary.count == 1 && tally.answeredAfterEnd == 0)
    }
}
