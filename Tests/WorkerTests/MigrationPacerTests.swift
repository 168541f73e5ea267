import Testing
import Transport

@testable import Worker

@Suite("the pace of migration")
struct MigrationPacerTests {
    private let begin = MonotonicTime(nanoseconds: 1_000)

    @Test("a rate is kept to in steps of 5 ms, whatever it is", arguments: [1, 7, 150, 2_000, 12_000] as [UInt32])
    func rate(perSecond: UInt32) {
        var pacer = MigrationPacer(perSecond: perSecond, now: begin)
        var total = 0
        for step in 1...2_000 {
            let now = begin + MigrationPacer.interval * step
            let allowance = pacer.allowance(outstanding: 0, now: now)
            pacer.began(allowance)
            total += allowance
        }
        #expect(total == Int(perSecond) * 10, "in ten seconds")
    }

    @Test("nothing is allowed at the very beginning")
    func beginning() {
        var pacer = MigrationPacer(perSecond: .max, now: begin)
        #expect(pacer.allowance(outstanding: 0, now: begin) == 0)
    }

    @Test("what is not settled counts against the limit, at any rate and after any time")
    func outstanding() {
        var pacer = MigrationPacer(perSecond: .max, now: begin)
        let later = begin + .seconds(1_000_000)
        #expect(pacer.allowance(outstanding: 0, now: later) == 64)
        #expect(pacer.allowance(outstanding: 60, now: later) == 4)
        #expect(pacer.allowance(outstanding: 64, now: later) == 0)
        #expect(pacer.allowance(outstanding: 70, now: later) == 0)
    }

    @Test("time without anything to move is not saved up beyond the limit")
    func noBurst() {
        var pacer = MigrationPacer(perSecond: 100, now: begin)
        let later = begin + .seconds(60)
        #expect(pacer.allowance(outstanding: 0, now: later) == 64)
        pacer.began(64)
        #expect(pacer.allowance(outstanding: 0, now: later) == 0)
        #expect(pacer.allowance(outstanding: 0, now: later + .milliseconds(20)) == 2)
    }

    @Test("after a refusal nothing is allowed for 250 ms, counted from the last")
    func refusal() {
        var pacer = MigrationPacer(perSecond: 1000, now: begin)
        let first = begin + .milliseconds(10)
        #expect(pacer.allowance(outstanding: 0, now: first) == 10)
        pacer.refused(now: first)
        #expect(pacer.isResting(now: first))
        #expect(pacer.allowance(outstanding: 0, now: first + .milliseconds(249)) == 0)
        pacer.refused(now: first + .milliseconds(100))
        #expect(pacer.allowance(outstanding: 0, now: first + .milliseconds(349)) == 0)
        #expect(!pacer.isResting(now: first + .milliseconds(350)))
        #expect(pacer.allowance(outstanding: 0, now: first + .milliseconds(350)) == 64)
    }

    @Test(
        "one refused among others that are taken, as when its listener's service has changed, rests the worker shortly")
    func refusalAmongOthers() {
        var pacer = MigrationPacer(perSecond: 1000, now: begin)
        let first = begin + .milliseconds(100)
        pacer.taken(now: begin)
        for _ in 0..<3 { pacer.refused(now: first) }
        #expect(pacer.allowance(outstanding: 0, now: first + .milliseconds(9)) == 0)
        #expect(pacer.allowance(outstanding: 0, now: first + .milliseconds(10)) == 64)
        pacer.refused(now: first + .milliseconds(20))
        #expect(pacer.allowance(outstanding: 0, now: first + .milliseconds(269)) == 0, "none was taken since")
        #expect(pacer.allowance(outstanding: 0, now: first + .milliseconds(270)) == 64)
    }

    @Test("it is in vain when everything has been offered and nothing was taken for 2 s, whenever a pass was over")
    func vain() {
        var pacer = MigrationPacer(perSecond: 1000, now: begin)
        #expect(!pacer.isInVain(now: begin + .seconds(60)), "some may not have been offered yet")
        pacer.taken(now: begin + .seconds(60))
        pacer.passed()
        #expect(!pacer.isInVain(now: begin + .milliseconds(61_999)))
        #expect(pacer.isInVain(now: begin + .seconds(62)))
        pacer.taken(now: begin + .seconds(62))
        #expect(!pacer.isInVain(now: begin + .milliseconds(63_999)))
        pacer.refused(now: begin + .seconds(64))
        #expect(pacer.isInVain(now: begin + .seconds(64)))
    }

    @Test("a clock that stands still or reads earlier allows nothing new")
    func clock() {
        var pacer = MigrationPacer(perSecond: 1000, now: begin + .seconds(1))
        #expect(pacer.allowance(outstanding: 0, now: begin) == 0)
        #expect(pacer.allowance(outstanding: 0, now: begin + .seconds(1)) == 0)
        #expect(pacer.allowance(outstanding: 0, now: begin + .milliseconds(1002)) == 2)
    }
}
