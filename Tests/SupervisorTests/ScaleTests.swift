import Testing
import Transport

@testable import Supervisor

@Suite struct ScaleTests {
    @Test("more workers are started, and the command is answered when they are ready")
    func up() {
        var pool = Pool.serving(workers: 1)
        let actions = pool.feed(.command(CommandID(1), .scale(.to(3))))
        #expect(actions.spawned.count == 2 && actions.answers.isEmpty)
        #expect(pool.makeReady(actions.spawned).answers.map(\.isDone) == [true])
    }

    @Test("workers that do not become ready in time are the answer")
    func upFails() {
        var pool = Pool.serving(workers: 1)
        pool.feed(.command(nil, .scale(.by(1))))
        #expect(pool.pass(.milliseconds(29_999)).answers.isEmpty)
        #expect(pool.pass(.milliseconds(1)).answers.map(\.isFailed) == [true])
    }

    @Test("the youngest workers are retired, and their slots are used again")
    func down() {
        var pool = Pool.serving(workers: 2)
        pool.wait(.seconds(1))
        pool.makeReady(pool.feed(.command(nil, .scale(.by(1)))).spawned)
        let actions = pool.feed(.command(nil, .scale(.to(1))))
        #expect(Set(actions.drained.keys) == [pool.worker(2), pool.worker(1)])
        #expect(actions.answers.map(\.isDone) == [true])
        #expect(pool.die(pool.worker(1), .code(0)).spawned.isEmpty)
        #expect(pool.feed(.command(nil, .scale(.by(1)))).spawned == [pool.worker(1, 1)])
    }

    @Test("a worker that does not serve goes before one that does")
    func downSparesTheReady() {
        var pool = Pool.serving(workers: 2)
        pool.die(pool.worker(0))
        #expect(pool.feed(.command(nil, .scale(.to(1)))).drained.isEmpty)
        #expect(pool.pass(.seconds(10)).spawned.isEmpty && pool.accept().sent(to: 1) == [0])
    }

    @Test("numbers out of range are refused", arguments: [ScaleChange.to(0), .to(1_025), .by(-2), .by(.max)])
    func range(change: ScaleChange) {
        var pool = Pool.serving(workers: 2)
        #expect(pool.feed(.command(nil, .scale(change))).answers.map(\.isRefused) == [true])
    }

    @Test("as many slots as there may be bound what is scaled up and down")
    func slots() {
        var pool = Pool.serving(workers: 1)
        var refusals = 0
        for _ in 0..<20 {
            let up = pool.feed(.command(nil, .scale(.to(8))))
            refusals += up.answers.count(where: \.isRefused)
            pool.makeReady(up.spawned)
            pool.feed(.command(nil, .scale(.to(1))))
        }
        #expect(refusals > 0 && pool.state.slots.count <= 4 * 8 + 8)
    }
}

@Suite struct RecycleTests {
    @Test("a worker at its age is replaced by one that is ready before it drains")
    func age() {
        var pool = Pool.serving(workers: 2) { $0.recycle = RecyclePolicy(ageMax: .seconds(100)) }
        #expect(pool.pass(.seconds(89)).spawned.isEmpty)
        let spawned = pool.pass(.seconds(22)).spawned
        #expect(spawned.count == 1, "one at a time")
        let actions = pool.makeReady(spawned)
        #expect(actions.drained.count == 1 && pool.state.counters.recycled == 1)
        #expect(actions.reports.contains { if case .recycled(_, by: spawned[0], .age) = $0 { true } else { false } })
    }

    @Test("connections and memory are reasons too, but not before the worker's shortest life is over")
    func connectionsAndMemory() {
        for reason in [RecycleReason.connections, .memory] {
            var pool = Pool.serving(workers: 1) { $0.recycle = RecyclePolicy(connectionsMax: 2, memoryMax: 1_000) }
            if reason == .connections {
                pool.accept(2)
                pool.page(0, adopted: 2, live: 2)
            } else {
                pool.feed(.memory(pool.worker(0), bytes: 1_100))
            }
            #expect(pool.pass(.milliseconds(9_999)).spawned.isEmpty)
            let spawned = pool.pass(.milliseconds(501)).spawned
            #expect(spawned == [pool.worker(1)])
            let reports = pool.makeReady(spawned).reports
            #expect(reports.contains(.recycled(pool.worker(0), by: pool.worker(1), reason)))
        }
    }

    @Test("connections that moved to a worker are no reason to recycle it, or its successor would be next")
    func movedConnections() {
        var pool = Pool.serving(workers: 1) { $0.recycle = RecyclePolicy(connectionsMax: 2) }
        pool.accept(3)
        pool.page(0, adopted: 3, live: 3)
        let successor = pool.worker(1)
        #expect(pool.pass(.seconds(11)).spawned == [successor])
        pool.makeReady([successor])
        for number in 0..<3 as Range<UInt32> {
            #expect(pool.offer(pool.worker(0), number: number, socket: 900 + Int32(number)).sent(to: 1).count == 1)
        }
        pool.page(1, adopted: 3, live: 3)
        #expect(pool.pass(.seconds(30)).spawned.isEmpty)
        pool.accept(3)
        pool.page(1, adopted: 6, live: 6)
        #expect(pool.pass(.seconds(1)).spawned.count == 1)
    }

    @Test("a successor as large as the worker before it is kept for ten minutes, and that is said once")
    func memoryBelowNeed() {
        var pool = Pool.serving(workers: 1) { $0.recycle = RecyclePolicy(ageMax: nil, memoryMax: 1_000) }
        pool.feed(.memory(pool.worker(0), bytes: 1_200))
        let successor = pool.worker(1)
        #expect(pool.pass(.seconds(11)).spawned == [successor])
        pool.makeReady([successor])
        pool.die(pool.worker(0), .code(0))
        pool.feed(.memory(successor, bytes: 1_200))
        let meanwhile = pool.pass(.seconds(595))
        #expect(meanwhile.spawned.isEmpty)
        #expect(meanwhile.reports.filter { $0 == .recycledInVain(successor) }.count == 1)
        #expect(pool.pass(.seconds(6)).spawned.count == 1)
    }

    @Test("a successor that dies is given up for a minute; the old worker goes on")
    func successorDies() {
        var pool = Pool.serving(workers: 1) { $0.recycle = RecyclePolicy(ageMax: .seconds(10)) }
        let spawned = pool.pass(.seconds(12)).spawned
        #expect(pool.die(spawned[0]).drained.isEmpty)
        #expect(pool.pass(.seconds(59)).spawned.isEmpty && pool.accept().sent(to: 0) == [0])
        #expect(pool.pass(.seconds(2)).spawned.count == 1)
    }

    @Test("drain replaces the worker in that slot and is answered when the successor is ready")
    func drain() {
        var pool = Pool.serving(workers: 2)
        let actions = pool.feed(.command(CommandID(4), .drain(slot: 1)))
        #expect(actions.spawned == [pool.worker(2)] && actions.answers.isEmpty)
        #expect(pool.feed(.command(nil, .drain(slot: 0))).answers.map(\.isRefused) == [true], "one at a time")
        let end = pool.makeReady([pool.worker(2)])
        #expect(end.drained.keys.contains(pool.worker(1)) && end.answers.map(\.isDone) == [true])
        #expect(pool.feed(.command(nil, .drain(slot: 1))).answers.map(\.isRefused) == [true], "it drains already")
    }

    @Test("a worker that dies before its successor is ready has it for its next")
    func oldDies() {
        var pool = Pool.serving(workers: 2)
        pool.feed(.command(CommandID(4), .drain(slot: 1)))
        let actions = pool.die(pool.worker(1))
        #expect(actions.answers.map(\.isDone) == [true] && pool.pass(.seconds(5)).spawned.isEmpty)
        pool.makeReady([pool.worker(2)])
        #expect(pool.accept(2).sent(to: 2).count == 1)
    }
}
