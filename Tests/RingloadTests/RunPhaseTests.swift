import Testing

@testable import ringload

@Suite("phases of a run")
struct RunPhaseTests {
    private func schedule(warmup: UInt64 = 0, measured: UInt64? = 10) -> RunSchedule {
        RunSchedule(warmupNanoseconds: warmup, measuredNanoseconds: measured, drainNanoseconds: 5)
    }

    @Test("opening, warming up, measuring, draining, end")
    func inOrder() {
        var schedule = schedule(warmup: 3)
        #expect(schedule.phase == .opening && !schedule.phase.sends)
        #expect(schedule.timeIsUp() == nil)
        #expect(schedule.opened(isAnyOpen: true) == .warmUp(nanoseconds: 3))
        #expect(schedule.phase.sends)
        #expect(schedule.opened(isAnyOpen: true) == nil, "once")
        #expect(schedule.timeIsUp() == .measure(nanoseconds: 10))
        #expect(schedule.drained() == nil, "nothing to wait for is no end while messages are sent")
        #expect(schedule.timeIsUp() == .drain(nanoseconds: 5))
        #expect(!schedule.phase.sends)
        #expect(schedule.drained() == .end)
        #expect(schedule.phase == .ended && schedule.timeIsUp() == nil)
    }

    @Test("no connection, no run")
    func noneOpen() {
        var schedule = schedule()
        #expect(schedule.opened(isAnyOpen: false) == .end)
    }

    @Test("answers that do not come are waited for no longer than the limit")
    func undrained() {
        var schedule = schedule()
        #expect(schedule.opened(isAnyOpen: true) == .measure(nanoseconds: 10))
        #expect(schedule.timeIsUp() == .drain(nanoseconds: 5))
        #expect(schedule.timeIsUp() == .end)
    }

    @Test("an early end waits for what is out, and one while connections are opened does not")
    func early() {
        var running = schedule(measured: nil)
        #expect(running.opened(isAnyOpen: true) == .measure(nanoseconds: nil))
        #expect(running.finishEarly() == .drain(nanoseconds: 5))
        #expect(running.finishEarly() == nil)
        var opening = schedule()
        #expect(opening.finishEarly() == .end)
        #expect(opening.opened(isAnyOpen: true) == nil)
    }

    @Test("so many attempts to connect at once and no more")
    func dialling() {
        var dialling = Dialling(wanted: 5, atOnceMax: 2)
        #expect([dialling.next(), dialling.next(), dialling.next()] == [0, 1, nil])
        dialling.ended(isOpen: true)
        #expect([dialling.next(), dialling.next()] == [2, nil])
        dialling.ended(isOpen: false)
        dialling.ended(isOpen: true)
        #expect([dialling.next(), dialling.next(), dialling.next()] == [3, 4, nil])
        #expect(!dialling.isComplete && dialling.outstanding == 2)
        dialling.ended(isOpen: true)
        dialling.ended(isOpen: true)
        #expect(dialling.isComplete && dialling.opened == 4 && dialling.failed == 1)
    }

    @Test("one that is stopped begins none, and is complete when those begun have ended")
    func stopped() {
        var dialling = Dialling(wanted: 5, atOnceMax: 2)
        _ = dialling.next()
        dialling.stop()
        #expect(dialling.next() == nil && !dialling.isComplete)
        dialling.ended(isOpen: true)
        #expect(dialling.isComplete)
    }
}
