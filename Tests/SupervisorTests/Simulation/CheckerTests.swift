import Testing
import Transport

@testable import Supervisor

/// The simulation proves something only if its checkers complain about worlds that are wrong.
@Suite struct CheckerTests {
    private let first = WorkerID(slot: 0, incarnation: 0)
    private let second = WorkerID(slot: 1, incarnation: 0)

    @Test("a ledger without a breach is silent")
    func sound() {
        let ledger = Ledger()
        let socket = ledger.accept()
        ledger.deliver(socket, to: first)
        ledger.bury(first)
        ledger.deliver(socket, to: second)
        ledger.adopt(socket, by: second)
        ledger.release(socket)
        #expect(ledger.violations.isEmpty && ledger.undelivered == 0)
    }

    @Test("delivery to two living workers is noticed")
    func twoDeliveries() {
        let ledger = Ledger()
        let socket = ledger.accept()
        ledger.deliver(socket, to: first)
        ledger.deliver(socket, to: second)
        #expect(ledger.violations.count == 1)
    }

    @Test("redelivery of a socket that its dead worker had adopted is noticed")
    func deliveryAfterAdoption() {
        let ledger = Ledger()
        let socket = ledger.accept()
        ledger.deliver(socket, to: first)
        ledger.adopt(socket, by: first)
        ledger.bury(first)
        ledger.deliver(socket, to: second)
        #expect(ledger.violations.count == 1)
    }

    @Test("a second adoption is noticed")
    func twoAdoptions() {
        let ledger = Ledger()
        let socket = ledger.accept()
        ledger.deliver(socket, to: first)
        ledger.adopt(socket, by: first)
        ledger.adopt(socket, by: first)
        #expect(ledger.violations.count == 1)
    }

    @Test("release before adoption, of a rejected socket, and twice are noticed")
    func wrongReleases() {
        let ledger = Ledger()
        let (early, rejected, twice) = (ledger.accept(), ledger.accept(), ledger.accept())
        for socket in [early, rejected, twice] { ledger.deliver(socket, to: first) }
        ledger.release(early)
        ledger.reject(rejected, by: first)
        ledger.release(rejected)
        ledger.adopt(twice, by: first)
        ledger.release(twice)
        #expect(ledger.violations.count == 2)
        ledger.release(twice)
        #expect(ledger.violations.count == 3)
    }

    @Test("closing a socket that a worker has is noticed, unless its adoption cannot be known")
    func wrongCloses() {
        let ledger = Ledger()
        let (served, unknown, late) = (ledger.accept(), ledger.accept(), ledger.accept())
        for socket in [served, unknown, late] {
            ledger.deliver(socket, to: first)
            ledger.adopt(socket, by: first)
        }
        ledger.close(unknown, .adoptionUnknown, isExiting: false)
        ledger.close(late, .stoppedFast, isExiting: true)
        #expect(ledger.violations.isEmpty)
        ledger.close(served, .stoppedFast, isExiting: false)
        #expect(ledger.violations.count == 1)
    }

    @Test("at the end a leaked copy, a lost socket and a wrong count are noticed")
    func audit() {
        let leaking = Ledger()
        let socket = leaking.accept()
        leaking.deliver(socket, to: first)
        leaking.adopt(socket, by: first)
        var counters = SupervisorCounters()
        counters.accepted = 1
        leaking.audit(counters)
        #expect(leaking.violations.count == 2, "a copy, and a socket not let go")
        leaking.release(socket)
        let miscounted = leaking.violations.count
        leaking.audit(counters)
        #expect(leaking.violations.count == miscounted + 1, "adopted is 0")

        let losing = Ledger()
        _ = losing.accept()
        losing.audit(counters)
        #expect(losing.violations.count == 3, "a copy, a socket that nobody served, and one not let go")
    }

    @Test("an offer that nobody made, taken twice, or made while the supervisor has a copy is noticed")
    func wrongOffers() {
        let ledger = Ledger()
        let socket = ledger.accept()
        ledger.deliver(socket, to: first)
        ledger.adopt(socket, by: first)
        ledger.offer(socket, by: first)
        #expect(ledger.violations.count == 1, "not released")
        ledger.take(socket, from: first)
        ledger.take(socket, from: first)
        #expect(ledger.violations.count == 2, "taken twice")
        ledger.refuse(socket, of: first)
        #expect(ledger.violations.count == 3, "refused after it was taken")
    }

    @Test("a command answered twice or unasked, and a generation that ends twice, are noticed")
    func wrongAnswers() {
        var orders = Orders(listeners: [0])
        var random = SplitMix64(seed: 1)
        let id = orders.command(isAnonymous: false)
        let listeners = orders.prepare(1, using: &random).listeners
        #expect(!orders.isSettled)
        orders.finish(id)
        orders.commit(1, listeners)
        #expect(orders.isSettled && orders.violations.isEmpty)
        orders.finish(id)
        orders.finish(nil)
        orders.rollBack(1)
        orders.commit(2, [0])
        #expect(orders.violations.count == 4)
    }

    @Test("a state with a socket in two places, out of order, or in no packet is called broken")
    func brokenStates() {
        var pool = Pool.serving(workers: 1)
        pool.accept(2)
        #expect(pool.state.brokenInvariants().isEmpty)
        let inflight = pool.state.slots[0].inflight.all
        var twice = pool.state
        twice.intake = .paused
        twice.pending.putBack([inflight[0]])
        #expect(twice.brokenInvariants().count == 1)
        var unsent = pool.state
        unsent.slots[0].assign(HeldSocket(socket: fresh(9), order: 9))
        #expect(unsent.brokenInvariants().count == 1)
        var accepting = pool.state
        accepting.pending.append(HeldSocket(socket: fresh(10), order: 10))
        #expect(accepting.brokenInvariants().count == 1)
    }

    @Test("a state whose phase and parts disagree is called broken")
    func brokenPhases() {
        var exited = Pool.serving(workers: 1).state
        exited.slots[0].assign(HeldSocket(socket: fresh(1), order: 1))
        _ = exited.slots[0].nextBatch(max: 1)
        exited.phase = .exited
        #expect(exited.brokenInvariants() == ["sockets held after the exit"])
        var stopping = Pool.serving(workers: 1).state
        stopping.phase = .stopping(.fast(now: MonotonicTime(nanoseconds: 1), exitCode: .success))
        #expect(stopping.brokenInvariants().count == 2)
    }

    private func fresh(_ id: Int32) -> AcceptedSocket {
        AcceptedSocket(id: SocketID(id), listener: 0, sourceHash: 0, acceptedAt: MonotonicTime(nanoseconds: 0))
    }
}
