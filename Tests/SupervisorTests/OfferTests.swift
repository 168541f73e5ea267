import Foundation
import Testing
import Transport

@testable import Supervisor

@Suite struct OfferTests {
    /// A worker of generation 0 drains in slot 0; one of generation 1 serves in slot 1.
    private func draining(migrates: Bool = true) -> Pool {
        var pool = Pool.serving(workers: 1)
        pool.makeReady(pool.replaceAll(workers: 1).spawned, migrates: migrates)
        return pool
    }

    @Test("an offered connection is taken, then sent to a successor")
    func takes() {
        var pool = draining()
        #expect(
            pool.offer(pool.worker(0), number: 3).prefix(2) == [
                .takeOffer(pool.worker(0), number: 3, SocketID(900)),
                .send(pool.worker(1), first: 0, [SocketID(900)]),
            ])
    }

    @Test("a packet has fresh sockets, or one offered")
    func packets() {
        var queue = InflightQueue()
        for order in 0..<5 as Range<UInt64> {
            let socket = AcceptedSocket(
                id: SocketID(Int32(order)), listener: 0, sourceHash: 0, acceptedAt: MonotonicTime(nanoseconds: 0))
            queue.append(HeldSocket(socket: socket, order: order, offeredBy: order == 2 || order == 3 ? 0 : nil))
        }
        var sizes: [Int] = []
        while let batch = queue.nextBatch(max: 16) { sizes.append(batch.sockets.count) }
        #expect(sizes == [2, 1, 1, 1])
    }

    @Test("without room, without a successor that can take it, or not asked for, an offer is refused")
    func refuses() {
        var full = draining()
        full.page(1, credit: 0)
        let actions = full.offer(full.worker(0))
        #expect(actions.contains(.refuseOffer(full.worker(0), number: 0, SocketID(900))))
        #expect(actions.reports == [.offersRefused(full.worker(0))])
        #expect(full.offer(full.worker(0), number: 1).reports.isEmpty, "said once")
        var old = draining(migrates: false)
        #expect(old.offer(old.worker(0)).sent(to: 1).isEmpty && old.state.counters.offersRefused == 1)
        var unasked = draining()
        #expect(unasked.offer(unasked.worker(1)).contains(.refuseOffer(unasked.worker(1), number: 0, SocketID(900))))
        var unknown = draining()
        #expect(unknown.offer(unknown.worker(0), listener: 9).sent(to: 1).isEmpty)
        var stopping = draining()
        stopping.feed(.stop(.graceful))
        #expect(stopping.offer(stopping.worker(0)).sent(to: 1).isEmpty)
    }

    @Test("what a dead worker had offered is the last copy: it waits for room instead of being refused")
    func lastCopy() {
        var pool = draining()
        pool.page(1, credit: 0)
        #expect(
            pool.offer(pool.worker(0), isLastCopy: true).contains(.takeOffer(pool.worker(0), number: 0, SocketID(900))))
        pool.die(pool.worker(0))
        pool.page(1, credit: 1)
        #expect(pool.feed(.timer).sent(to: 1) == [900])
        var paused = draining()
        paused.accept()
        paused.feed(.sendRefused(paused.worker(1), first: 0, .tooManyInFlight))
        paused.offer(paused.worker(0), isLastCopy: true)
        #expect(paused.pass(.milliseconds(1)).sent(to: 1) == [0, 900])
        var stopped = draining()
        stopped.feed(.stop(.fast))
        #expect(stopped.offer(stopped.worker(0), isLastCopy: true).sent(to: 1).isEmpty)
        #expect(stopped.state.counters.offersRefused == 1)
    }

    @Test(
        "offers wait, up to a bound, while all that may be on the way to the successors is, and are refused beyond their credit"
    )
    func waits() {
        var pool = draining()
        pool.page(1, credit: 5_000)
        for number in 0..<70 as Range<UInt32> {
            pool.offer(pool.worker(0), number: number, socket: 900 + Int32(number))
        }
        #expect(pool.state.counters.offersTaken == 70 && pool.state.pending.offered.count == 6)
        pool.page(1, adopted: 64, live: 64, credit: 4_936)
        #expect(pool.feed(.timer).sent(to: 1) == Array(964..<970))
        for number in 70..<1_200 as Range<UInt32> {
            pool.offer(pool.worker(0), number: number, socket: 900 + Int32(number))
        }
        #expect(pool.state.pending.offered.count == SupervisorState.offersWaitingMax)
        #expect(pool.state.counters.offersRefused == 1_200 - 70 - 58 - 1_024)
        var small = draining()
        small.page(1, credit: 65)
        for number in 0..<70 as Range<UInt32> {
            small.offer(small.worker(0), number: number, socket: 900 + Int32(number))
        }
        #expect(small.state.counters.offersTaken == 65 && small.state.pending.offered.count == 1)
    }

    @Test("a connection that was taken from a dead worker is not lost with it")
    func notLost() {
        var pool = Pool.serving(workers: 1)
        pool.accept(3)
        pool.page(0, adopted: 3, live: 3)
        pool.makeReady(pool.replaceAll(workers: 1).spawned)
        pool.offer(pool.worker(0), isLastCopy: true)
        let reports = pool.die(pool.worker(0), adopted: 3, live: 3).reports
        #expect(pool.state.counters.lost == 2)
        #expect(reports.contains(.workerDied(pool.worker(0), .code(1), redelivered: 0, lost: 2)))
    }

    @Test("no connection moves to another kind of service, even when several generations of it lie between")
    func changedService() {
        var pool = Pool.serving(workers: 1)
        pool.makeReady(pool.replaceAll(workers: 1, changed: [0]).spawned)
        #expect(pool.offer(pool.worker(0)).contains(.refuseOffer(pool.worker(0), number: 0, SocketID(900))))
        pool.makeReady(pool.replaceAll(workers: 1).spawned)
        #expect(pool.offer(pool.worker(0), number: 1).contains(.refuseOffer(pool.worker(0), number: 1, SocketID(900))))
        #expect(pool.offer(pool.worker(1)).sent(to: 2) == [900], "of the same kind")
    }

    @Test("a connection that was taken before its listener's service changed, and comes back, is closed")
    func changedMeanwhile() {
        var pool = draining()
        pool.offer(pool.worker(0))
        pool.makeReady(pool.replaceAll(workers: 1, changed: [0]).spawned)
        #expect(pool.die(pool.worker(1)).contains(.close(SocketID(900), .undeliverable)))
    }

    @Test("an offered connection that its new worker did not adopt goes to the next, like an accepted one")
    func redelivers() {
        var pool = draining()
        pool.offer(pool.worker(0))
        pool.wait(.seconds(20))
        let spawned = pool.die(pool.worker(1)).spawned
        let actions = pool.makeReady(spawned)
        #expect(actions.contains(.send(spawned[0], first: 0, [SocketID(900)])))
        #expect(pool.state.counters.redelivered == 1)
    }

    @Test("an offered connection waits for nobody when no worker understands it any more")
    func unwelcome() {
        var pool = draining()
        pool.offer(pool.worker(0))
        pool.wait(.seconds(20))
        let spawned = pool.die(pool.worker(1)).spawned
        #expect(pool.makeReady(spawned, migrates: false).contains(.close(SocketID(900), .undeliverable)))
    }

    @Test("an offered connection that waits for a worker that understands it keeps no fresh one waiting")
    func waitsAside() {
        var pool = Pool.serving(workers: 2)
        pool.makeReady(pool.replaceAll(workers: 2).spawned)
        pool.page(3, credit: 0)
        pool.offer(pool.worker(0))
        pool.page(3)
        pool.feed(.versionAgreed(pool.worker(3), migrates: false))
        pool.die(pool.worker(2))
        #expect(pool.accept(2).sent(to: 3) == [0, 1])
        #expect(pool.state.pending.offered.count == 1)
    }

    @Test("a worker with too many connections to move at the configured rate moves them in half of its time")
    func rate() {
        for (rate, expected) in [(1, 3), (2, 3), (5, 5), (0, 0)] as [(UInt32, UInt32)] {
            var pool = Pool.serving(workers: 1)
            pool.accept(61)
            pool.page(0, adopted: 61, live: 61)
            let next = pool.replaceAll(workers: 1) { $0.migrationsPerSecond = rate }.spawned
            #expect(pool.makeReady(next).drained == [pool.worker(0): expected])
        }
    }

    @Test("an old worker, or a rate of 0, drains without offering")
    func notAsked() {
        var pool = Pool.serving(workers: 1)
        let actions = pool.makeReady(pool.replaceAll(workers: 1) { $0.migrationsPerSecond = 0 }.spawned)
        #expect(actions.drained == [pool.worker(0): 0])
        var old = Pool.serving(workers: 1)
        old.feed(.versionAgreed(old.worker(0), migrates: false))
        #expect(old.makeReady(old.replaceAll(workers: 1).spawned).drained == [old.worker(0): 0])
    }
}

@Suite struct FreezeTests {
    @Test("a frozen and thawed state goes on where it was, with accepting paused")
    func goesOn() throws {
        var pool = Pool.serving(workers: 2)
        pool.accept(3)
        #expect(pool.state.canFreeze == nil)
        let frozen = try JSONEncoder().encode(pool.state)
        pool.state = try JSONDecoder().decode(SupervisorState.self, from: frozen)
        #expect(pool.feed(.thawed) == [.resumeAccepting])
        #expect(pool.page(0, adopted: 2, live: 2).contains(.release([SocketID(0), SocketID(2)])))
        #expect(pool.die(pool.worker(1)).sent(to: 0) == [1])
    }

    @Test("a state says why it cannot be frozen")
    func refuses() {
        var pool = Pool(workers: 1)
        #expect(pool.state.canFreeze != nil)
        pool = .serving(workers: 1)
        pool.replaceAll()
        #expect(pool.state.canFreeze == "a reload is under way")
        pool = .serving(workers: 1)
        pool.feed(.command(nil, .scale(.by(1))))
        #expect(pool.state.canFreeze == "workers are being added")
    }

    @Test("keys that this binary does not know are passed over")
    func unknownKeys() throws {
        let pool = Pool.serving(workers: 1)
        let frozen = try JSONEncoder().encode(pool.state)
        var object = try #require(try JSONSerialization.jsonObject(with: frozen) as? [String: Any])
        object["ofTheFuture"] = [1, 2]
        let data = try JSONSerialization.data(withJSONObject: object)
        #expect(try JSONDecoder().decode(SupervisorState.self, from: data).wanted == 1)
    }
}

@Suite struct StatusTests {
    @Test("the status names phase, workers, counters and the last replacement")
    func status() {
        var pool = Pool.serving(workers: 2)
        pool.accept(3)
        pool.page(0, adopted: 2, live: 2)
        pool.makeReady(pool.replaceAll(workers: 1).spawned)
        pool.wait(.seconds(2))
        let status = pool.state.status(now: pool.now)
        #expect(status.phase == "running" && status.generation == 1 && status.wanted == 1 && !status.degraded)
        #expect(status.workers.map(\.state) == ["draining", "draining", "ready"])
        #expect(status.workers.map(\.generation) == [0, 0, 1] && status.workers[0].live == 2)
        #expect(status.workers[1].inflight == 1 && status.workers[2].sinceSeconds == 2)
        #expect(status.counters["accepted"] == 3 && status.lastReplacement?.isDone == true)
        pool.feed(.stop(.graceful))
        #expect(pool.state.status(now: pool.now).phase == "draining")
    }
}
