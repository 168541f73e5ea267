import Handoff
import Testing
import Transport

@testable import Supervisor

@Suite struct GracefulStopTests {
    @Test("a graceful stop closes the listeners at once and drains once everything accepted is adopted")
    func handsOutFirst() {
        var pool = Pool.serving(workers: 1)
        pool.accept()
        #expect(pool.feed(.stop(.graceful)) == [.closeListeners])
        #expect(pool.accept().sent(to: 0) == [1])
        pool.wait(.milliseconds(2))
        #expect(pool.feed(.listenersClosed).isEmpty)
        pool.page(0, adopted: 2, live: 2)
        #expect(pool.feed(.timer) == [.drain(pool.worker(0), milliseconds: 7_998, migrationsPerSecond: 0)])
    }

    @Test("workers that drain for a successor are told that there is none any more, however long they have left")
    func retired() {
        for age in [Duration.seconds(1), .seconds(58)] {
            var pool = Pool.serving(workers: 1)
            pool.makeReady(pool.replaceAll(workers: 1).spawned)
            pool.wait(age)
            pool.page(0)
            pool.page(1)
            pool.feed(.stop(.graceful))
            #expect(pool.feed(.listenersClosed).drained == [pool.worker(0): 0, pool.worker(1): 0])
            #expect(pool.pass(.seconds(60) - age).killed.contains(pool.worker(0)))
        }
    }

    @Test("drain ends a second before the grace, the kill comes half a second before, the exit when all are gone")
    func timeline() {
        var pool = Pool.serving(workers: 2)
        pool.feed(.stop(.graceful))
        let drains = pool.feed(.listenersClosed)
        #expect(
            drains == [
                .drain(pool.worker(0), milliseconds: 8_000, migrationsPerSecond: 0),
                .drain(pool.worker(1), milliseconds: 8_000, migrationsPerSecond: 0),
            ])
        pool.wait(.seconds(3))
        pool.feed(.drained(pool.worker(0), forced: 2))
        #expect(pool.die(pool.worker(0), .code(0)).spawned.isEmpty)
        #expect(pool.pass(.milliseconds(5_499)).killed.isEmpty)
        #expect(pool.pass(.milliseconds(1)).killed == [pool.worker(1)])
        let last = pool.die(pool.worker(1), .signal(9, coreDumped: false))
        #expect(last.exitCode == .success && pool.state.counters.forcedCloses == 2)
    }

    @Test("the supervisor exits at the end of the grace even if a killed worker does not go")
    func unkillable() {
        var pool = Pool.serving(workers: 1)
        pool.accept()
        pool.feed(.stop(.graceful))
        pool.feed(.listenersClosed)
        #expect(pool.pass(.milliseconds(8_999)).exitCode == nil)
        let actions = pool.pass(.milliseconds(1))
        #expect(actions.contains(.close(SocketID(0), .notAdoptedAtStop)) && actions.exitCode == .success)
        #expect(pool.state.nextDeadline == nil)
    }

    @Test("nothing is spawned during a stop, and planned restarts are forgotten")
    func noRestart() {
        var pool = Pool.serving(workers: 2)
        pool.die(pool.worker(0))
        pool.feed(.stop(.graceful))
        pool.die(pool.worker(1))
        #expect(pool.pass(.seconds(5)).spawned.isEmpty)
    }

    @Test("a worker that dies during the stop leaves its sockets to another one")
    func redeliversDuringStop() {
        var pool = Pool.serving(workers: 2)
        pool.accept(2)
        pool.feed(.stop(.graceful))
        #expect(pool.die(pool.worker(0)).sent(to: 1) == [0])
    }

    @Test("without a living worker what waits is closed at once")
    func nobodyLives() {
        var pool = Pool.serving(workers: 1)
        pool.accept(2)
        pool.feed(.stop(.graceful))
        #expect(pool.die(pool.worker(0)).closed == [0, 1])
        #expect(pool.state.counters[.noWorkerAtStop] == 2)
        #expect(pool.feed(.listenersClosed).exitCode == .success)
    }

    @Test("workers without credit do not hold up the drain: what waits is closed halfway to the cut")
    func noCredit() {
        var pool = Pool.serving(workers: 1, credit: 1)
        pool.accept(2)
        pool.page(0, adopted: 1, live: 1, credit: 0)
        pool.feed(.stop(.graceful))
        pool.feed(.listenersClosed)
        #expect(pool.pass(.milliseconds(3_999)).isEmpty)
        let actions = pool.pass(.milliseconds(1))
        #expect(
            actions == [
                .close(SocketID(1), .noWorkerAtStop),
                .drain(pool.worker(0), milliseconds: 4_000, migrationsPerSecond: 0),
            ])
    }

    @Test("a worker that boots while the supervisor stops still gets what waits; one not needed is sent home")
    func bootingWorkers() {
        var pool = Pool(workers: 2)
        pool.feed(.start)
        pool.accept()
        pool.feed(.stop(.graceful))
        pool.feed(.listenersClosed)
        pool.feed(.ready(pool.worker(0)))
        pool.page(0)
        #expect(pool.feed(.timer).sent(to: 0) == [0])
        pool.page(0, adopted: 1, live: 1)
        let actions = pool.feed(.timer)
        #expect(actions.contains(.stopFast(pool.worker(1))))
        #expect(pool.pass(.milliseconds(500)).killed == [pool.worker(1)])
    }

    @Test("a short grace shortens the margins in proportion", arguments: [1, 3, 200, 999, 1_999])
    func shortGrace(milliseconds: Int) {
        let now = MonotonicTime(nanoseconds: 5)
        let plan = StopPlan.graceful(now: now, grace: .milliseconds(milliseconds), delay: .zero)
        #expect(now < plan.nextDeadline && plan.nextDeadline < plan.cutAt)
        #expect(plan.cutAt < plan.killAt && plan.killAt < plan.exitAt)
        #expect(plan.exitAt == now + .milliseconds(milliseconds))
    }
}

@Suite struct DrainDelayTests {
    @Test("with a grace of 15 s or more accepting goes on for a sixth of it, at most 5 s", arguments: [14, 15, 24, 60])
    func delay(grace: Int) {
        let delay = [14: 0, 15: 2_500, 24: 4_000, 60: 5_000][grace] ?? 0
        var pool = Pool.serving(workers: 1, grace: .seconds(grace))
        if delay == 0 { return #expect(pool.feed(.stop(.graceful)) == [.closeListeners]) }
        #expect(pool.feed(.stop(.graceful)).isEmpty)
        #expect(pool.accept().sent(to: 0) == [0])
        #expect(!pool.pass(.milliseconds(delay - 1)).contains(.closeListeners))
        #expect(pool.pass(.milliseconds(1)).contains(.closeListeners))
        #expect(pool.pass(.seconds(grace) - .milliseconds(delay)).exitCode == .success)
    }

    @Test("a second stop ends the delay")
    func secondStop() {
        var pool = Pool.serving(workers: 1, grace: .seconds(30))
        pool.feed(.stop(.graceful))
        #expect(pool.feed(.stop(.graceful)).contains(.stopFast(pool.worker(0))))
    }
}

@Suite struct FastStopTests {
    @Test("a fast stop closes what waits, stops every worker and kills after half a second")
    func fast() {
        var pool = Pool.serving(workers: 2, credit: 1)
        pool.accept(3)
        let actions = pool.feed(.stop(.fast))
        #expect(
            actions == [
                .closeListeners, .close(SocketID(2), .stoppedFast), .stopFast(pool.worker(0)),
                .stopFast(pool.worker(1)),
            ])
        #expect(pool.accept().closed == [3])
        #expect(pool.pass(.milliseconds(500)).killed == [pool.worker(0), pool.worker(1)])
        #expect(pool.pass(.milliseconds(500)).exitCode == .success)
    }

    @Test("a fast stop is over as soon as the workers and the listeners are gone")
    func soon() {
        var pool = Pool.serving(workers: 1)
        pool.feed(.stop(.fast))
        #expect(pool.die(pool.worker(0), .code(0)).exitCode == nil)
        #expect(pool.feed(.listenersClosed).exitCode == .success)
    }

    @Test(
        "a second stop of either kind during a graceful one makes it fast",
        arguments: [SupervisorState.StopKind.graceful, .fast])
    func second(kind: SupervisorState.StopKind) {
        var pool = Pool.serving(workers: 1)
        pool.feed(.stop(.graceful))
        pool.feed(.listenersClosed)
        pool.wait(.seconds(1))
        #expect(pool.feed(.stop(kind)) == [.stopFast(pool.worker(0))])
        #expect(pool.feed(.stop(.fast)).isEmpty)
        #expect(pool.pass(.milliseconds(500)).killed == [pool.worker(0)])
    }

    @Test("a grace of zero makes a graceful stop a fast one")
    func noGrace() {
        var pool = Pool.serving(workers: 1, grace: .zero)
        #expect(pool.feed(.stop(.graceful)).contains(.stopFast(pool.worker(0))))
    }

    @Test("a supervisor that never started stops without more ado")
    func idle() {
        var pool = Pool()
        #expect(pool.feed(.stop(.graceful)) == [.closeListeners])
        #expect(pool.feed(.listenersClosed).exitCode == .success)
    }

    @Test("after the exit nothing happens any more, but a late socket is closed")
    func afterExit() {
        var pool = Pool()
        pool.feed(.stop(.fast))
        pool.feed(.listenersClosed)
        #expect(pool.feed(.start).isEmpty && pool.feed(.stop(.fast)).isEmpty)
        #expect(pool.accept().closed == [0])
    }
}
