import Testing
import Transport

@testable import Supervisor

@Suite struct ReplacementTests {
    @Test("a new generation starts beside the old one and gets nothing before all of it is ready")
    func besideTheOld() {
        var pool = Pool.serving(workers: 2)
        let new = pool.replaceAll(workers: 2).spawned
        #expect(new == [pool.worker(2), pool.worker(3)])
        pool.makeReady([new[0]])
        let actions = pool.accept(4)
        #expect(actions.sent(to: 0).count == 2 && actions.sent(to: 1).count == 2)
    }

    @Test(
        "when all are ready the new generation takes over, the old workers drain and migrate, the command is answered")
    func takesOver() {
        var pool = Pool.serving(workers: 2)
        let new = pool.replaceAll(workers: 3).spawned
        let actions = pool.makeReady(new)
        #expect(actions.contains(.commit(1, [0])) && actions.reports.contains(.replaced(1)))
        #expect(actions.drained == [pool.worker(0): 2_000, pool.worker(1): 2_000])
        #expect(actions.answers.map(\.isDone) == [true] && pool.state.wanted == 3)
        let sent = pool.accept(6)
        #expect((2..<5).allSatisfy { sent.sent(to: $0).count == 2 })
    }

    @Test("the third death of a new worker gives the generation up; the old one goes on")
    func rollsBack() {
        var pool = Pool.serving(workers: 1)
        var worker = pool.replaceAll(workers: 2).spawned[0]
        for _ in 0..<2 {
            #expect(pool.die(worker).answers.isEmpty)
            worker = pool.pass(.seconds(1)).spawned[0]
        }
        let actions = pool.die(worker)
        #expect(actions.contains(.rollBack(1, reason: "3 new workers died")))
        #expect(actions.contains(.stopFast(pool.worker(2))) && actions.answers.map(\.isFailed) == [true])
        #expect(pool.accept().sent(to: 0) == [0] && pool.state.generation == 0)
        #expect(pool.die(pool.worker(2), .code(0)).spawned.isEmpty && pool.pass(.seconds(40)).spawned.isEmpty)
    }

    @Test("a new worker that rejects its options gives the generation up at once")
    func rejectsOptions() {
        var pool = Pool.serving(workers: 1)
        let worker = pool.replaceAll(workers: 1).spawned[0]
        #expect(pool.die(worker, .code(2)).answers.map(\.isFailed) == [true])
    }

    @Test("an old worker that dies during the replacement is replaced by one of its own generation")
    func oldDies() {
        var pool = Pool.serving(workers: 2)
        pool.replaceAll()
        pool.wait(.seconds(20))
        #expect(pool.die(pool.worker(0)).contains(.spawn(pool.worker(0, 1), 0)))
    }

    @Test("listeners that go are emptied into the old workers before these are told to drain")
    func listenersGo() {
        var pool = Pool.serving(workers: 1)
        let new = pool.replaceAll(workers: 1, listeners: [7]).spawned
        #expect(pool.makeReady(new).contains(.retireListeners([0])))
        #expect(pool.accept().sent(to: 0) == [0])
        #expect(pool.feed(.listenersRetired([0])).drained.isEmpty, "its last socket is not adopted yet")
        pool.page(0, adopted: 1, live: 1)
        let actions = pool.feed(.timer)
        #expect(actions.contains(.commit(1, [7])) && actions.drained.keys.contains(pool.worker(0)))
    }

    @Test("what a removed listener accepted and no worker that knows it can take is closed with its reason")
    func unknownListener() {
        var pool = Pool.serving(workers: 1)
        pool.accept(2)
        pool.page(0, adopted: 1, live: 1, credit: 0)
        pool.makeReady(pool.replaceAll(workers: 1, listeners: [7]).spawned)
        pool.feed(.listenersRetired([0]))
        let actions = pool.pass(.seconds(5))
        #expect(actions.contains(.commit(1, [7])))
        #expect(pool.die(pool.worker(0), adopted: 1, live: 1).contains(.close(SocketID(1), .listenerRemoved)))
        #expect(pool.state.counters[.listenerRemoved] == 1)
    }

    @Test("a reload or an upgrade during a reload, scaling during either, and anything during a stop is refused")
    func refuses() {
        var pool = Pool.serving(workers: 1)
        pool.replaceAll(1)
        #expect(pool.replaceAll(2, .upgrade).answers.map(\.isRefused) == [true])
        #expect(pool.replaceAll(4).contains(.rollBack(3, reason: "a reload is under way")))
        #expect(pool.feed(.command(nil, .scale(.by(1)))).answers.map(\.isRefused) == [true])
        #expect(pool.feed(.command(nil, .drain(slot: 0))).answers.map(\.isRefused) == [true])
        #expect(pool.feed(.stop(.graceful)).answers.map(\.isFailed) == [true], "the reload")
        #expect(pool.replaceAll(3).answers.map(\.isRefused) == [true])
    }

    @Test("the last reload's result is told, also when it could not be begun")
    func lastResult() {
        var pool = Pool.serving(workers: 1)
        #expect(pool.state.status(now: pool.now).lastReplacement == nil)
        pool.feed(.replacementRefused("f.yaml:2: there is no key 'wrokers'"))
        #expect(pool.state.status(now: pool.now).lastReplacement == .refused("f.yaml:2: there is no key 'wrokers'"))
        pool.makeReady(pool.replaceAll(workers: 1).spawned)
        #expect(pool.state.status(now: pool.now).lastReplacement?.isDone == true)
        pool.replaceAll(1)
        pool.replaceAll(2)
        #expect(pool.state.status(now: pool.now).lastReplacement?.isRefused == true)
    }

    @Test("a third generation waits while two are still alive behind the one that serves")
    func waitsForDrain() {
        var pool = Pool.serving(workers: 1)
        for _ in 0..<2 { pool.makeReady(pool.replaceAll(workers: 1).spawned) }
        #expect(pool.replaceAll(workers: 1).spawned.isEmpty)
        #expect(pool.die(pool.worker(0), .code(0)).spawned.count == 1)
    }

    @Test("a retired worker is told to cut after 59 s and is killed after 60")
    func retireTimeout() {
        var pool = Pool.serving(workers: 1)
        let actions = pool.makeReady(pool.replaceAll(workers: 1).spawned)
        #expect(actions.contains(.drain(pool.worker(0), milliseconds: 59_000, migrationsPerSecond: 2_000)))
        #expect(pool.pass(.milliseconds(59_999)).killed.isEmpty)
        #expect(pool.pass(.milliseconds(1)).killed == [pool.worker(0)])
        #expect(pool.die(pool.worker(0), .signal(9, coreDumped: false)).spawned.isEmpty)
    }

    @Test("a stop shortens the time of those that drain already")
    func stopShortens() {
        var pool = Pool.serving(workers: 1)
        pool.makeReady(pool.replaceAll(workers: 1).spawned)
        pool.feed(.stop(.graceful))
        let drains = pool.feed(.listenersClosed).drained
        #expect(drains == [pool.worker(0): 0, pool.worker(1): 0])
        #expect(Set(pool.pass(.milliseconds(8_500)).killed) == [pool.worker(0), pool.worker(1)])
    }

    @Test("sources keep their seat over a reload")
    func seats() {
        var pool = Pool.serving(workers: 4, balance: .sourceHash)
        let before = (0..<8).map { hash in pool.accept(sourceHash: hash).firstSlot }
        let new = pool.replaceAll(workers: 4) {
            $0 = .init(workerCount: 4, balance: .sourceHash, connectionsMax: 1_000, seed: 1)
        }
        pool.makeReady(new.spawned)
        #expect((0..<8).map { hash in pool.accept(sourceHash: hash).firstSlot } == before.map { $0 + 4 })
    }
}

extension [Action] {
    fileprivate var firstSlot: Int {
        for case .send(let worker, _, _) in self { return worker.slot }
        return -100
    }
}
