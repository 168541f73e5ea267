import Handoff
import Testing
import Transport

@testable import Supervisor

@Suite struct HangTests {
    /// The pages are looked at as often as asked for; the heartbeat of slot 0 stays what it is.
    private func stand(_ pool: inout Pool, since heartbeat: MonotonicTime? = nil, _ duration: Duration) -> [Action] {
        let reading = PageReading(adopted: 0, live: 0, credit: 100, heartbeat: heartbeat ?? pool.now)
        var actions: [Action] = []
        let end = pool.now + duration
        while pool.now < end {
            pool.wait(.milliseconds(500))
            actions += pool.feed(.page(0, reading))
            actions += pool.feed(.timer)
        }
        return actions
    }

    @Test("a worker whose heartbeat stands still for a second gets no traffic until it beats again")
    func stalls() {
        var pool = Pool.serving(workers: 2)
        pool.page(0)
        #expect(stand(&pool, .seconds(1)).reports.contains(.stalled(pool.worker(0))))
        #expect(pool.accept(2).sent(to: 0).isEmpty)
        #expect(pool.page(0).reports == [.resumed(pool.worker(0))])
        #expect(pool.accept(2).sent(to: 0).count == 2)
    }

    @Test("a worker that stands still goes before one that serves when there are to be fewer")
    func scaledDown() {
        var pool = Pool.serving(workers: 2)
        pool.page(0)
        _ = stand(&pool, .seconds(1))
        #expect(pool.feed(.command(nil, .scale(.to(1)))).drained.keys.map(\.slot) == [0])
    }

    @Test("after the hang timeout it is aborted, a second later killed, and what it had not adopted goes to another")
    func hangs() {
        var pool = Pool.serving(workers: 2) { $0.hangTimeout = .seconds(5) }
        pool.accept(2)
        pool.page(0)
        let since = pool.now
        #expect(!stand(&pool, since: since, .milliseconds(4_500)).contains(.abort(pool.worker(0))))
        let actions = stand(&pool, since: since, .milliseconds(500))
        #expect(actions.contains(.abort(pool.worker(0))) && actions.reports.contains(.hung(pool.worker(0))))
        #expect(pool.pass(.milliseconds(999)).killed.isEmpty)
        #expect(pool.pass(.milliseconds(1)).killed == [pool.worker(0)])
        #expect(pool.die(pool.worker(0), .signal(9, coreDumped: false)).sent(to: 1) == [0])
        #expect(pool.state.counters.hung == 1)
    }

    @Test("time in which the supervisor did not look does not count")
    func suspended() {
        var pool = Pool.serving(workers: 1) { $0.hangTimeout = .seconds(5) }
        let reading = pool.reading(credit: 100)
        pool.feed(.page(0, reading))
        pool.wait(.seconds(3_600))
        #expect(pool.feed(.page(0, reading)).isEmpty)
        #expect(!pool.feed(.timer).contains(.abort(pool.worker(0))))
    }

    @Test("without a hang timeout nobody is ended")
    func off() {
        var pool = Pool.serving(workers: 2) { $0.hangTimeout = nil }
        pool.page(0)
        #expect(!stand(&pool, .seconds(120)).contains(.abort(pool.worker(0))))
    }

    @Test("the pages are looked at every 500 ms even when nothing is awaited")
    func looks() throws {
        var pool = Pool.serving(workers: 1)
        _ = pool.pass(.seconds(3))
        #expect(try #require(pool.state.nextDeadline) - pool.now <= .milliseconds(500))
    }
}
