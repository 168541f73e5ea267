import Testing

@testable import Supervisor

@Suite struct RedeliveryTests {
    @Test("what a dead worker had not adopted goes to another, oldest first and ahead of newer ones")
    func redelivery() {
        var pool = Pool.serving(workers: 2, credit: 3)
        pool.accept(8)
        let actions = pool.die(pool.worker(0), adopted: 1)
        #expect(actions.contains(.release([SocketID(0)])))
        #expect(pool.state.pending.fresh.all.map(\.socket.id.rawValue) == [2, 4, 6, 7])
        pool.page(1, adopted: 3, live: 3, credit: 2)
        #expect(pool.feed(.timer).sent(to: 1) == [2, 4])
        #expect(pool.state.counters.redelivered == 2)
    }

    @Test("nothing is redelivered before the worker's exit, even if it is being killed")
    func notBeforeExit() {
        var pool = Pool.serving(workers: 2)
        pool.accept(2)
        pool.feed(.failed(pool.worker(0), .internalError, message: ""))
        #expect(pool.pass(.seconds(5)).sent(to: 1).isEmpty)
        #expect(pool.die(pool.worker(0)).sent(to: 1) == [0])
    }

    @Test("the death report counts what was redelivered and the connections lost")
    func report() {
        var pool = Pool.serving(workers: 2)
        pool.accept(6)
        let reports = pool.die(pool.worker(0), .signal(9, coreDumped: false), adopted: 2, live: 2).reports
        #expect(
            reports.contains(.workerDied(pool.worker(0), .signal(9, coreDumped: false), redelivered: 1, lost: 2)))
    }

    @Test("a rejected socket is not released; it goes to another worker, and the rejecting one rests")
    func rejection() {
        var pool = Pool.serving(workers: 2)
        pool.accept(6)
        let actions = pool.page(0, adopted: 3, rejected: [1..<2], live: 2)
        #expect(actions.contains(.release([SocketID(0), SocketID(4)])))
        #expect(actions.contains(.publishReleased(0, 3)))
        #expect(actions.reports == [.rejected(pool.worker(0), count: 1)])
        #expect(pool.feed(.timer).sent(to: 1) == [2])
        #expect(pool.accept(4).sent(to: 0).isEmpty)
        _ = pool.pass(.milliseconds(50))
        #expect(pool.accept().sent(to: 0) == [10])
    }

    @Test("a rejection seen only in the page of the dead is redelivered too")
    func finalRejection() {
        var pool = Pool.serving(workers: 2)
        pool.accept(4)
        let final = pool.reading(adopted: 2, rejected: [0..<1])
        let actions = pool.feed(.exited(pool.worker(0), .code(1), finalReading: final))
        #expect(actions.contains(.release([SocketID(2)])) && actions.sent(to: 1) == [0])
    }

    @Test("a socket that cannot be delivered is closed after deliveriesMax attempts")
    func undeliverable() {
        var pool = Pool.serving(workers: 1) { $0.deliveriesMax = 2 }
        pool.accept()
        pool.page(0, adopted: 1, rejected: [0..<1])
        #expect(pool.pass(.milliseconds(50)).sent(to: 0) == [0])
        let actions = pool.page(0, adopted: 2, rejected: [1..<2])
        #expect(actions.contains(.close(SocketID(0), .undeliverable)))
    }

    @Test(
        "a page that cannot be true kills its worker, and what it may have adopted goes to nobody",
        arguments: [
            (0, []), (4, []), (.max, []), (2, [0..<1]), (3, [2..<4]), (3, [2..<3, 1..<2]), (3, [1..<3, 2..<3]),
            (3, [2..<(.max)]),
        ] as [(SequenceNumber, [Range<SequenceNumber>])])
    func lies(adopted: SequenceNumber, rejected: [Range<SequenceNumber>]) {
        var pool = Pool.serving(workers: 1)
        pool.accept(3)
        pool.page(0, adopted: 1, live: 1)
        let actions = pool.page(0, adopted: adopted, rejected: rejected)
        #expect(actions.killed == [pool.worker(0)])
        #expect(actions.reports == [.pageCorrupt(pool.worker(0))])
        #expect(actions.closed == [1, 2])
        #expect(pool.state.counters[.adoptionUnknown] == 2)
        #expect(pool.page(0, adopted: 1).isEmpty)
    }

    @Test("a page that the shell finds corrupt, or cannot read after the death, is treated alike")
    func corrupt() {
        var pool = Pool.serving(workers: 2)
        pool.accept(4)
        let actions = pool.feed(.pageCorrupt(0))
        #expect(actions.killed == [pool.worker(0)] && actions.closed == [0, 2])
        let final = pool.feed(.exited(pool.worker(1), .code(1), finalReading: nil))
        #expect(final.closed == [1, 3])
    }

    @Test("without any ready worker sockets wait, and the next worker gets them in order")
    func holdsThroughDeath() {
        var pool = Pool.serving(workers: 1)
        pool.wait(.seconds(20))
        pool.accept(3)
        #expect(pool.die(pool.worker(0)).closed.isEmpty)
        pool.feed(.ready(pool.worker(0, 1)))
        pool.page(0)
        #expect(pool.feed(.timer).sent(to: 0) == [0, 1, 2])
    }
}
