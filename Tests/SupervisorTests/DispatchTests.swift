import Testing
import Transport

@testable import Supervisor

@Suite struct DispatchTests {
    @Test("a worker gets nothing before READY")
    func readyBeforeTraffic() {
        var pool = Pool(workers: 1)
        pool.feed(.start)
        pool.feed(.hello(pool.worker(0)))
        pool.page(0, credit: 100)
        #expect(pool.accept().sent(to: 0).isEmpty)
        #expect(pool.feed(.ready(pool.worker(0))).sent(to: 0) == [0])
    }

    @Test("a READY from a former incarnation changes nothing")
    func staleReady() {
        var pool = Pool.serving(workers: 1)
        pool.wait(.seconds(20))
        pool.die(pool.worker(0))
        #expect(pool.feed(.ready(pool.worker(0))).reports.isEmpty)
        #expect(pool.state.slots[0].isStarting)
    }

    @Test("the sockets of one batch count at once: a burst spreads evenly")
    func burstSpreads() {
        var pool = Pool.serving(workers: 3)
        let actions = pool.accept(30)
        #expect((0..<3).map { actions.sent(to: $0).count } == [10, 10, 10])
    }

    @Test("the least loaded worker gets the socket: live and in flight count alike")
    func leastLoaded() {
        var pool = Pool.serving(workers: 2)
        pool.accept(4)
        pool.page(0, adopted: 2, live: 0)
        pool.page(1, adopted: 2, live: 2)
        #expect(pool.accept(2).sent(to: 0).count == 2)
        #expect(pool.accept(2).sent(to: 1).count == 1)
    }

    @Test("a packet holds at most batchMax sockets, and sequence numbers run on")
    func batches() {
        var pool = Pool.serving(workers: 1)
        let actions = pool.accept(40)
        #expect(actions.firstNumbers == [0, 16, 32] && actions.sent(to: 0) == Array(0..<40))
    }

    @Test("a worker never has more in flight than its credit")
    func credit() {
        var pool = Pool.serving(workers: 1, credit: 5)
        #expect(pool.accept(8).sent(to: 0).count == 5)
        pool.page(0, adopted: 2, live: 2, credit: 3)
        #expect(pool.feed(.timer).sent(to: 0).isEmpty)
        pool.page(0, adopted: 5, live: 5, credit: 2)
        #expect(pool.feed(.timer).sent(to: 0) == [5, 6])
    }

    @Test("a worker never has more in flight than inflightPerWorkerMax, whatever its credit")
    func inflightMax() {
        var pool = Pool.serving(workers: 1, credit: 1_000)
        #expect(pool.accept(100).sent(to: 0).count == 64)
        pool.page(0, adopted: 10, live: 10, credit: 1_000)
        #expect(pool.feed(.timer).sent(to: 0).count == 10)
    }

    @Test("all workers together never have more than connectionsMax")
    func connectionsMax() {
        var pool = Pool.serving(workers: 2, connectionsMax: 7)
        let full = pool.accept(10)
        #expect(full.sent(to: 0).count + full.sent(to: 1).count == 7)
        pool.page(0, adopted: 4, live: 3)
        let freed = pool.feed(.timer)
        #expect(freed.sent(to: 0).count + freed.sent(to: 1).count == 1)
    }

    @Test("a worker that claims more connections than it ever adopted does not fill the pool")
    func inflatedLive() {
        var pool = Pool.serving(workers: 2, connectionsMax: 10)
        pool.page(0, live: 1 << 24)
        #expect(pool.accept().sent(to: 0) == [0])
    }

    @Test("what is adopted is released, and the release published after it")
    func release() {
        var pool = Pool.serving(workers: 1)
        pool.accept(3)
        #expect(
            pool.page(0, adopted: 2, live: 2)
                == [.release([SocketID(0), SocketID(1)]), .publishReleased(0, 2)])
        #expect(pool.page(0, adopted: 2, live: 2).isEmpty)
    }

    @Test("while something is in flight the pages are looked at within a millisecond, then ever more rarely")
    func pageWatch() throws {
        var pool = Pool.serving(workers: 1)
        pool.accept(2)
        #expect(try #require(pool.state.nextDeadline) - pool.now <= .milliseconds(1))
        _ = pool.pass(.milliseconds(100))
        let pause = try #require(pool.state.nextDeadline) - pool.now
        #expect(pause > .milliseconds(1) && pause <= .milliseconds(16))
        pool.page(0, adopted: 1, live: 1)
        #expect(try #require(pool.state.nextDeadline) - pool.now <= .milliseconds(1), "more may follow soon")
        pool.page(0, adopted: 2, live: 2)
        _ = pool.pass(.milliseconds(1))
        #expect(try #require(pool.state.nextDeadline) - pool.now == .milliseconds(500), "only for heartbeats")
    }

    @Test("a look that is due is not put off by what happens before it")
    func pageWatchUnderLoad() throws {
        var pool = Pool.serving(workers: 1)
        pool.accept()
        let due = try #require(pool.state.nextDeadline)
        pool.wait(due - pool.now)
        pool.feed(.memory(pool.worker(0), bytes: 1))
        #expect(pool.state.nextDeadline == due)
        pool.feed(.timer)
        #expect(try #require(pool.state.nextDeadline) > due)
    }
}

@Suite struct IntakeTests {
    @Test("accepting begins when a worker is ready and has credit")
    func begins() {
        var pool = Pool(workers: 2)
        #expect(!pool.feed(.start).contains(.resumeAccepting))
        #expect(!pool.feed(.ready(pool.worker(1))).contains(.resumeAccepting))
        pool.page(1)
        #expect(pool.feed(.timer).contains(.resumeAccepting))
    }

    @Test("without credit anywhere accepting pauses, and what was accepted waits")
    func pauses() {
        var pool = Pool.serving(workers: 2, credit: 1)
        #expect(pool.accept(3).contains(.pauseAccepting))
        #expect(pool.state.pending.count == 1)
    }

    @Test("a pause for want of room on the way ends with the want, however few places are free")
    func endsWithTheBurst() {
        var pool = Pool.serving(workers: 1, connectionsMax: 100) { $0.inflightPerWorkerMax = 32 }
        for served: SequenceNumber in [32, 64, 96] {
            #expect(pool.accept(32).contains(.pauseAccepting))
            pool.page(0, adopted: served, live: UInt32(served), credit: 100 - UInt32(served))
            #expect(pool.feed(.timer).contains(.resumeAccepting))
        }
    }

    @Test("a pause for want of a worker that can take more just now ends with the want")
    func endsWithTheRefusal() {
        var pool = Pool.serving(workers: 1, connectionsMax: 100) { $0.inflightPerWorkerMax = 100 }
        pool.accept(98)
        pool.page(0, adopted: 98, live: 98, credit: 2)
        #expect(!pool.accept().contains(.pauseAccepting))
        #expect(pool.feed(.sendRefused(pool.worker(0), first: 98, .full)) == [.pauseAccepting])
        let after = pool.pass(SupervisorState.refusalPause)
        #expect(after.sent(to: 0) == [98] && after.contains(.resumeAccepting))
    }

    @Test("when all places were taken, accepting resumes at once if a twentieth is free, not for less")
    func hysteresis() {
        var pool = Pool.serving(workers: 1, connectionsMax: 60) { $0.inflightPerWorkerMax = 100 }
        #expect(pool.accept(60).contains(.pauseAccepting))
        pool.page(0, adopted: 60, live: 58)
        #expect(!pool.feed(.timer).contains(.resumeAccepting))
        pool.page(0, adopted: 60, live: 57)
        #expect(pool.feed(.timer).contains(.resumeAccepting))
    }

    @Test(
        "when all places were taken, one that is free is filled once the pause has lasted a little",
        arguments: [true, false])
    func lastPlace(isWorkerFull: Bool) {
        var pool = Pool.serving(workers: 1, credit: 60, connectionsMax: isWorkerFull ? 1_000 : 60) {
            $0.inflightPerWorkerMax = 100
        }
        #expect(pool.accept(60).contains(.pauseAccepting))
        pool.page(0, adopted: 60, live: 60, credit: 0)
        #expect(!pool.pass(SupervisorState.fullPause / 2).contains(.resumeAccepting))
        pool.page(0, adopted: 60, live: 59, credit: 1)
        #expect(!pool.feed(.timer).contains(.resumeAccepting))
        #expect(pool.pass(SupervisorState.fullPause + PageWatch.intervalMax).contains(.resumeAccepting))
        #expect(pool.accept().sent(to: 0) == [60])
    }

    @Test("a place that becomes free long after all were taken is filled at once")
    func lateLeaver() {
        var pool = Pool.serving(workers: 1, connectionsMax: 60) { $0.inflightPerWorkerMax = 100 }
        pool.accept(60)
        pool.page(0, adopted: 60, live: 60)
        #expect(!pool.pass(.seconds(1)).contains(.resumeAccepting))
        pool.page(0, adopted: 60, live: 59)
        #expect(pool.feed(.timer).contains(.resumeAccepting))
    }

    @Test("clients that come and go at the limit do not start and stop accepting all the time")
    func flutter() {
        var pool = Pool.serving(workers: 1, connectionsMax: 60) { $0.inflightPerWorkerMax = 100 }
        var adopted: SequenceNumber = 60
        var (pauses, isAccepting) = (1, false)
        pool.accept(60)
        for _ in 0..<1_000 {
            pool.page(0, adopted: adopted, live: 59)
            if pool.pass(.milliseconds(1)).contains(.resumeAccepting) { isAccepting = true }
            guard isAccepting, pool.accept().contains(.pauseAccepting) else { continue }
            adopted += 1
            pauses += 1
            isAccepting = false
        }
        // A pause of ten milliseconds and a look at the pages later: some forty to a hundred in a second.
        #expect((1_000 / 26...1_000 / 10 + 1).contains(pauses))
    }

    @Test("a backlog that was accepted before the pause took effect is kept, however long, and served in order")
    func burst() {
        var pool = Pool.serving(workers: 1, credit: 1, connectionsMax: 10_000) { $0.inflightPerWorkerMax = 10_000 }
        let burst = pool.accept(5_000)
        #expect(burst.contains(.pauseAccepting) && burst.closed.isEmpty)
        #expect(burst.sent(to: 0) == [0])
        pool.page(0, adopted: 1, live: 0, credit: 6_000)
        #expect(pool.feed(.timer).sent(to: 0) == Array(1..<5_000))
        #expect(pool.state.counters.closed == 0)
    }
}

@Suite struct RefusalTests {
    @Test("sockets of a full worker go to another at once, in order, and to it again after a millisecond")
    func full() {
        var pool = Pool.serving(workers: 2)
        #expect(pool.accept(2).sent(to: 0) == [0])
        #expect(pool.feed(.sendRefused(pool.worker(0), first: 0, .full)) == [.pauseAccepting])
        #expect(pool.feed(.timer).sent(to: 1) == [0])
        #expect(pool.accept(2).sent(to: 1) == [2, 3])
        pool.wait(.milliseconds(1))
        pool.feed(.timer)
        #expect(pool.accept().sent(to: 0) == [4])
    }

    @Test("too many descriptors in flight: nobody gets anything for a millisecond")
    func tooManyInFlight() {
        var pool = Pool.serving(workers: 2)
        pool.accept(2)
        pool.feed(.sendRefused(pool.worker(0), first: 0, .tooManyInFlight))
        let actions = pool.feed(.timer)
        #expect(actions.sent(to: 0).isEmpty && actions.sent(to: 1).isEmpty)
        let later = pool.pass(.milliseconds(1))
        #expect(later.sent(to: 0) == [0])
    }

    @Test("a refused packet takes the later ones along, and their numbers are used again")
    func laterPackets() {
        var pool = Pool.serving(workers: 1)
        pool.accept(40)
        pool.feed(.sendRefused(pool.worker(0), first: 16, .full))
        #expect(pool.state.pending.count == 24)
        let actions = pool.pass(.milliseconds(1))
        #expect(actions.sent(to: 0) == Array(16..<40))
        #expect(actions.firstNumbers == [16, 32])
    }

    @Test("a worker whose socket is gone gets nothing more and is killed unless it exits soon")
    func gone() {
        var pool = Pool.serving(workers: 2)
        pool.accept(2)
        pool.feed(.sendRefused(pool.worker(0), first: 0, .gone))
        #expect(pool.feed(.timer).sent(to: 1) == [0])
        #expect(pool.accept(4).sent(to: 0).isEmpty)
        #expect(pool.pass(.milliseconds(249)).killed.isEmpty)
        #expect(pool.pass(.milliseconds(1)).killed == [pool.worker(0)])
    }
}
