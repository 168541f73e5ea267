import Testing

@testable import Supervisor

@Suite struct BalanceTests {
    @Test("round robin takes turns, whatever the load, and skips workers without credit")
    func roundRobin() {
        var pool = Pool.serving(workers: 3, balance: .roundRobin)
        let first = pool.accept(3)
        #expect((0..<3).map { first.sent(to: $0) } == [[0], [1], [2]])
        pool.page(0, adopted: 1, live: 0)
        pool.page(1, adopted: 1, live: 1, credit: 0)
        let second = pool.accept(4)
        #expect((0..<3).map { second.sent(to: $0).count } == [2, 0, 2])
    }

    @Test("equals take turns under least loaded: single connections do not pile up on one worker")
    func rotation() {
        var pool = Pool.serving(workers: 3)
        var targets: [Int] = []
        for turn in 1...6 {
            let actions = pool.accept()
            let target = (0..<3).first { !actions.sent(to: $0).isEmpty } ?? -1
            targets.append(target)
            pool.page(target, adopted: SequenceNumber((turn + 2) / 3), live: 0)
        }
        #expect(targets == [0, 1, 2, 0, 1, 2])
    }

    @Test("source hash sends a source to the same worker each time, and sources to all workers")
    func sourceHashIsStable() {
        var pool = Pool.serving(workers: 4, credit: 1_000, balance: .sourceHash)
        var targets = Set<Int>()
        for source in UInt64(0)..<32 {
            let actions = pool.accept(2, sourceHash: source)
            let used = (0..<4).filter { !actions.sent(to: $0).isEmpty }
            #expect(used.count == 1, "source \(source)")
            targets.formUnion(used)
        }
        #expect(targets == [0, 1, 2, 3])
    }

    @Test("a death moves only the dead worker's sources, and they spread over the others")
    func rendezvous() {
        func targets(dead: Int?) -> [Int?] {
            (UInt64(0)..<64).map { source in
                var pool = Pool.serving(workers: 4, balance: .sourceHash)
                if let dead { pool.die(pool.worker(dead)) }
                let actions = pool.accept(sourceHash: source)
                return (0..<4).first { !actions.sent(to: $0).isEmpty }
            }
        }
        let (before, after) = (targets(dead: nil), targets(dead: 2))
        var heirs = Set<Int>()
        for (old, new) in zip(before, after) {
            if old == 2, let new { heirs.insert(new) } else { #expect(old == new) }
        }
        #expect(heirs == [0, 1, 3])
    }

    @Test("when a source's worker has no credit, the next in the source's own order takes it")
    func sourceHashFallsBack() {
        var pool = Pool.serving(workers: 3, credit: 1, balance: .sourceHash)
        let actions = pool.accept(3, sourceHash: 7)
        #expect((0..<3).map { actions.sent(to: $0).count } == [1, 1, 1])
    }

    @Test("a source waits for its own worker while that takes what is on the way, but not for ever")
    func sourceHashWaits() {
        var pool = Pool.serving(workers: 2, balance: .sourceHash) { $0.inflightPerWorkerMax = 2 }
        let first = pool.accept(3, sourceHash: 7)
        let own = first.sent(to: 0).isEmpty ? 1 : 0
        #expect(first.sent(to: own) == [0, 1])
        #expect(first.sent(to: 1 - own).isEmpty)
        pool.page(own, adopted: 1, live: 1)
        #expect(pool.feed(.timer).sent(to: own) == [2])

        // It adopts no more: the next of its sources goes to the other worker, no sooner than the wait is over.
        #expect(pool.accept(sourceHash: 7).sent(to: 1 - own).isEmpty)
        #expect(pool.pass(Balancer.affinityWait - .milliseconds(1)).sent(to: 1 - own).isEmpty)
        #expect(pool.pass(PageWatch.intervalMax + .milliseconds(2)).sent(to: 1 - own) == [3])
    }
}
