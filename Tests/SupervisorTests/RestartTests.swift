import Handoff
import Testing
import Transport

@testable import Supervisor

@Suite struct RestartTests {
    @Test("start spawns every worker; the ready line comes once, when all are ready")
    func start() {
        var pool = Pool(workers: 3)
        #expect(pool.feed(.start).spawned == (0..<3).map { pool.worker($0) })
        #expect(pool.feed(.ready(pool.worker(2))).reports == [.workerReady(pool.worker(2))])
        pool.feed(.ready(pool.worker(0)))
        #expect(pool.feed(.ready(pool.worker(1))).reports.contains(.allReady))
        pool.wait(.seconds(20))
        pool.die(pool.worker(1))
        #expect(pool.feed(.ready(pool.worker(1, 1))).reports == [.workerReady(pool.worker(1, 1))])
    }

    @Test("a worker that had been ready for 10 s is replaced at once, one that had not after a delay")
    func immediately() {
        var pool = Pool.serving(workers: 2)
        pool.wait(.seconds(9))
        #expect(pool.die(pool.worker(0)).spawned.isEmpty)
        pool.wait(.seconds(1))
        #expect(pool.die(pool.worker(1)).spawned.contains(pool.worker(1, 1)))
    }

    @Test("the delay doubles with each death, within its jitter, up to the cap, and starts anew after 60 s ready")
    func delays() {
        let policy = RestartPolicy()
        var (deaths, random) = (0, SplitMix64(seed: 7))
        var base = Duration.milliseconds(100)
        for _ in 0..<40 {
            let delay = policy.delay(deaths: &deaths, readyFor: .seconds(1), random: &random)
            #expect(delay >= base * 4 / 5 && delay <= base * 6 / 5)
            base = min(base * 2, .seconds(30))
        }
        #expect(policy.delay(deaths: &deaths, readyFor: .seconds(59), random: &random) == .zero)
        #expect(policy.delay(deaths: &deaths, readyFor: nil, random: &random) >= .seconds(24))
        #expect(policy.delay(deaths: &deaths, readyFor: .seconds(60), random: &random) == .zero)
        #expect(policy.delay(deaths: &deaths, readyFor: nil, random: &random) <= .milliseconds(120))
    }

    @Test("delays differ: the jitter keeps workers out of step")
    func jitter() {
        var random = SplitMix64(seed: 7)
        let delays = (0..<20).map { _ -> Duration in
            var deaths = 0
            return RestartPolicy().delay(deaths: &deaths, readyFor: nil, random: &random)
        }
        #expect(Set(delays).count > 10)
    }

    @Test("a worker that is not ready in time is killed")
    func bootTimeout() {
        var pool = Pool(workers: 1)
        pool.feed(.start)
        pool.feed(.hello(pool.worker(0)))
        #expect(pool.pass(.milliseconds(29_999)).killed.isEmpty)
        let actions = pool.pass(.milliseconds(1))
        #expect(actions.killed == [pool.worker(0)] && actions.reports == [.bootTimedOut(pool.worker(0))])
        #expect(pool.pass(.seconds(60)).killed.isEmpty)
    }

    @Test("too many restarts in a minute make the pool degraded: one slot at a time, 30 s apart")
    func degraded() throws {
        var pool = Pool.serving(workers: 2) { $0.bootTimeout = .seconds(300) }
        var crashes = 0
        var reports: [SupervisorState.Report] = []
        while crashes < 20, !reports.contains(.degraded) {
            reports += pool.die(pool.state.slots[0].worker).reports
            crashes += 1
            let actions = pool.pass(.seconds(8))
            reports += actions.reports
            if let worker = actions.spawned.first { pool.feed(.ready(worker)) }
        }
        #expect(reports.contains(.degraded))
        #expect(pool.state.counters.restarts == 5)
        let next = pool.pass(.seconds(30)).spawned
        #expect(next.count == 1)
        let first = try #require(next.first)
        #expect(pool.die(pool.worker(1)).spawned.isEmpty)
        #expect(pool.pass(.seconds(120)).spawned.isEmpty, "the other slot waits for this one's boot")
        let second = pool.feed(.ready(first)).spawned
        #expect(second == [pool.worker(1 - first.slot, pool.state.slots[1 - first.slot].worker.incarnation)])
        let last = try #require(second.first)
        #expect(pool.feed(.ready(last)).reports.contains(.recovered))
    }

    @Test("degraded or not, a pool in which nobody serves starts a worker as soon as its own back-off is over")
    func nobodyServes() {
        var pool = Pool.serving(workers: 2)
        for _ in 0..<8 {
            var spawned: [WorkerID] = []
            for slot in 0..<2 where pool.state.slots[slot].isLiving {
                spawned += pool.die(pool.state.slots[slot].worker).spawned
            }
            spawned += pool.pass(.seconds(1)).spawned
            #expect(!spawned.isEmpty, "nobody served for a second")
            for worker in spawned { pool.feed(.ready(worker)) }
            pool.wait(.seconds(11))
        }
    }

    @Test("deaths with the same status are reported five times, then counted")
    func collapsedReports() {
        var log = DeathLog()
        let worker = WorkerID(slot: 0, incarnation: 0)
        let record = { (log: inout DeathLog, status: ProcessExit) in
            log.record(worker, status, redelivered: 0, lost: 0)
        }
        for _ in 0..<5 { #expect(record(&log, .code(1)).count == 1) }
        for _ in 0..<3 { #expect(record(&log, .code(1)).isEmpty) }
        #expect(
            record(&log, .code(4))
                == [
                    .deathsCollapsed(.code(1), count: 3),
                    .workerDied(worker, .code(4), redelivered: 0, lost: 0),
                ])
        #expect(log.flush().isEmpty)
        for _ in 0..<4 { #expect(record(&log, .code(4)).count == 1) }
        let endless = (0..<200).map { _ in record(&log, .code(4)) }.filter { !$0.isEmpty }
        #expect(endless == Array(repeating: [.deathsCollapsed(.code(4), count: 100)], count: 2))
    }
}

@Suite struct FirstStartTests {
    /// Lets slot 0 die with this until the supervisor exits; how often, and the exit code.
    private func crashLoop(_ pool: inout Pool, _ status: ProcessExit) -> (deaths: Int, code: ExitCode?) {
        pool.feed(.start)
        var actions: [Action] = []
        for deaths in 1...10 {
            actions += pool.die(pool.state.slots[0].worker, status)
            if actions.contains(.closeListeners) {
                actions += pool.feed(.listenersClosed)
                return (deaths, actions.exitCode)
            }
            actions += pool.pass(.seconds(1))
        }
        return (10, nil)
    }

    @Test(
        "three failed boots in a row with no worker ever ready end the supervisor, with the worker's own code if it is telling",
        arguments: [
            (.code(1), .workersNeverReady), (.code(0), .workersNeverReady), (.code(77), .workersNeverReady),
            (.signal(11, coreDumped: true), .workersNeverReady), (.code(4), .serviceFailed),
            (.code(5), .ringUnavailable), (.code(7), .limitTooLow), (.code(9), .workersNeverReady),
        ] as [(ProcessExit, ExitCode)])
    func failFast(status: ProcessExit, code: ExitCode) {
        var pool = Pool(workers: 1)
        let outcome = crashLoop(&pool, status)
        #expect(outcome.deaths == 3 && outcome.code == code)
    }

    @Test("a bad option ends the supervisor at the first worker's exit: trying again cannot help")
    func badUsage() {
        var pool = Pool(workers: 1)
        let outcome = crashLoop(&pool, .code(2))
        #expect(outcome.deaths == 1 && outcome.code == .badUsage)
    }

    @Test("what a worker announced counts more than how it went")
    func announced() {
        var pool = Pool(workers: 1) { $0.restart.failFastAttempts = 1 }
        pool.feed(.start)
        pool.feed(.failed(pool.worker(0), .ringUnavailable, message: "seccomp"))
        pool.die(pool.worker(0), .signal(9, coreDumped: false))
        #expect(pool.feed(.listenersClosed).exitCode == .ringUnavailable)
    }

    @Test("giving up takes the workers along that still boot, and waits for them")
    func othersAreStopped() {
        var pool = Pool(workers: 2) { $0.restart.failFastAttempts = 1 }
        pool.feed(.start)
        #expect(pool.die(pool.worker(0)).contains(.stopFast(pool.worker(1))))
        #expect(pool.feed(.listenersClosed).exitCode == nil)
        #expect(pool.pass(.milliseconds(500)).killed == [pool.worker(1)])
        #expect(pool.die(pool.worker(1), .signal(9, coreDumped: false)).exitCode == .workersNeverReady)
    }

    @Test("once a worker has been ready, failing boots do not end the supervisor")
    func notAfterReady() {
        var pool = Pool.serving(workers: 2)
        for _ in 0..<8 {
            #expect(pool.die(pool.state.slots[0].worker, .code(4)).exitCode == nil)
            _ = pool.pass(.seconds(40))
        }
        #expect(pool.state.isRunning)
    }

    @Test("a worker that exits with bad usage is not respawned; the last such one ends the supervisor")
    func retired() {
        var pool = Pool.serving(workers: 2)
        pool.wait(.seconds(20))
        let first = pool.die(pool.worker(0), .code(2))
        #expect(first.reports.contains(.slotRetired(0)) && first.spawned.isEmpty)
        #expect(pool.pass(.seconds(120)).spawned.isEmpty)
        #expect(pool.die(pool.worker(1), .code(2)).contains(.closeListeners))
        #expect(pool.feed(.listenersClosed).exitCode == .badUsage)
    }
}
