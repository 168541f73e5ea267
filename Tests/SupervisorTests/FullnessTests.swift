import Testing
import Transport

@testable import Supervisor

@Suite("a full server tells it") struct FullnessTests {
    @Test("a warning when all places are taken, once, however long they are so")
    func warning() {
        var pool = Pool.serving(workers: 1, connectionsMax: 60)
        #expect(pool.accept(60).reports == [.full(.connectionsMax, connections: 60)])
        #expect(pool.state.status(now: pool.now).full == .connectionsMax)
        pool.page(0, adopted: 60, live: 60)
        #expect(pool.pass(.seconds(60)).reports.isEmpty)
    }

    @Test("room is told when there has been some for a while")
    func room() {
        var pool = Pool.serving(workers: 1, connectionsMax: 60)
        pool.accept(60)
        pool.page(0, adopted: 60, live: 30)
        #expect(pool.pass(Fullness.easingTime - .seconds(1)).reports.isEmpty)
        #expect(pool.state.status(now: pool.now).full == nil)
        #expect(pool.pass(.seconds(2)).reports == [.roomAgain])
        #expect(pool.accept(30).reports == [.full(.connectionsMax, connections: 60)])
    }

    @Test("clients that come and go at the limit are one warning")
    func flutter() {
        var pool = Pool.serving(workers: 1, connectionsMax: 60)
        pool.accept(60)
        for adopted in UInt64(60)..<100 {
            pool.page(0, adopted: adopted, live: 50)
            #expect(pool.pass(.milliseconds(900)).reports.isEmpty)
            #expect(pool.accept(10).reports.isEmpty)
        }
    }

    @Test("one worker without a descriptor left is no reason, but all of them are")
    func descriptors() {
        var pool = Pool.serving(workers: 2, credit: 5)
        #expect(pool.accept(9).reports.isEmpty)
        #expect(pool.accept(1).reports == [.full(.openFiles, connections: 10)])
        #expect(pool.state.status(now: pool.now).full == .openFiles)
    }

    @Test("workers that start, or are ready and have not said how much they take, are not full")
    func starting() {
        var pool = Pool(workers: 2)
        #expect(pool.feed(.start).reports.isEmpty)
        #expect(pool.feed(.ready(pool.worker(0))).reports == [.workerReady(pool.worker(0))])
        #expect(pool.feed(.timer).reports.isEmpty)
        #expect(pool.state.status(now: pool.now).full == nil)
    }

    @Test("a worker that takes no more, with fewer connections than it can have, is not full: a signal makes it drain")
    func draining() {
        var pool = Pool.serving(workers: 1, credit: 5)
        #expect(pool.accept(2).reports.isEmpty)
        #expect(pool.page(0, adopted: 2, live: 2, credit: 3).reports.isEmpty)
        #expect(pool.page(0, adopted: 2, live: 2, credit: 0).reports.isEmpty)
        #expect(pool.pass(.seconds(1)).reports.isEmpty)
        #expect(pool.state.status(now: pool.now).full == nil)
    }

    @Test("a supervisor that stops says neither")
    func stopping() {
        var pool = Pool.serving(workers: 1, connectionsMax: 1, grace: .seconds(60))
        pool.accept(1)
        pool.page(0, adopted: 1, live: 1)
        pool.feed(.stop(.graceful))
        #expect(pool.pass(.seconds(30)).reports.isEmpty)
        #expect(pool.state.status(now: pool.now).full == nil)
    }
}
