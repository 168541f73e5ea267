import Handoff
import Transport

@testable import Supervisor

/// The workers' part.
extension World {
    /// The process ends now; the supervisor hears of it a little later.
    func leave(_ slot: Int, _ status: ExitStatus, within microseconds: Int) {
        workers[slot]?.stage = .leaving(at: shortly(microseconds), status)
    }

    func act(_ slot: Int) {
        guard let worker = workers[slot] else { return }
        switch worker.stage {
        case .booting(let until): boot(worker, until)
        case .serving, .draining: serve(slot)
        case .leaving: break
        }
    }

    private func boot(_ worker: FakeWorker, _ until: MonotonicTime?) {
        let slot = worker.id.slot
        guard let until, until <= now else {
            // A change in the weather reaches those who hang, too.
            if until == nil, climate.arrival == 0 { workers[slot]?.stage = .booting(until: now) }
            return
        }
        if chance(climate.bootFails) {
            let code: ExitCode = chance(climate.badUsage) ? .badUsage : .serviceFailed
            if chance(50) { feed(.failed(worker.id, code, message: "simulated")) }
            leave(slot, .code(code.rawValue), within: 5_000)
            return
        }
        feed(.hello(worker.id))
        feed(.versionAgreed(worker.id, migrates: worker.migrates))
        workers[slot]?.stage = .serving
        feed(.ready(worker.id))
    }

    private func serve(_ slot: Int) {
        if climate.arrival == 0, configuration.hangTimeout == nil { workers[slot]?.frozenAt = nil }
        if chance(climate.thaw) { workers[slot]?.frozenAt = nil }
        if workers[slot]?.frozenAt == nil, chance(climate.freeze) { workers[slot]?.frozenAt = now }
        if chance(2), let id = workers[slot]?.id { feed(.memory(id, bytes: random.next() % 100)) }
        guard var worker = workers[slot], worker.frozenAt == nil, !chance(climate.idle) else { return }
        worker.live.removeAll { live in live.until <= now && !worker.outbox.contains { $0.socket == live.socket } }
        if chance(climate.filling) { worker.limit = chance(50) ? 0 : .random(in: 1...40, using: &random) }
        if climate.arrival == 0 { worker.limit = max(worker.limit, 10) }
        if chance(climate.lie) { worker.isLiar = true }
        if climate.arrival == 0 { worker.isLiar = false }
        adopt(&worker)
        offer(&worker)
        workers[slot] = worker
        if chance(climate.death) { return die(worker) }
        guard case .draining(let until) = worker.stage, worker.inbox.isEmpty, worker.outbox.isEmpty else { return }
        guard worker.live.isEmpty || until <= now else { return }
        feed(.drained(worker.id, forced: UInt32(worker.live.count)))
        leave(slot, .code(0), within: 2_000)
    }

    private func adopt(_ worker: inout FakeWorker) {
        guard !worker.inbox.isEmpty else { return }
        if chance(climate.rejection) {
            let count = Int.random(in: 1...worker.inbox.count, using: &random)
            for socket in worker.rejectFirst(count) { ledger.reject(socket, by: worker.id) }
        }
        let count = Int.random(in: 0...worker.inbox.count, using: &random)
        for _ in 0..<count {
            let socket = worker.adoptFirst(now: now, until: shortly(chance(climate.staying) ? 20_000_000 : 20_000))
            ledger.adopt(socket, by: worker.id)
        }
    }

    /// Freezes a few connections for others. Its own copies were released: a connection is offered once.
    private func offer(_ worker: inout FakeWorker) {
        guard worker.migrates, worker.mayOffer || (worker.isLiar && chance(5)) else { return }
        let free = worker.live.filter { ledger.isServed($0.socket, by: worker.id) }
        for (socket, _) in free.prefix(Int.random(in: 0...3, using: &random)) {
            ledger.offer(socket, by: worker.id)
            worker.outbox.append((worker.offerNext, socket))
            worker.offerNext += 1
        }
    }

    /// The supervisor reads what lies in the hand-off socket, even of a worker that is dead by now.
    func deliverOffers(_ slot: Int, all: Bool = false) {
        while let worker = workers[slot], let offer = worker.outbox.first, all || !chance(climate.late) {
            workers[slot]?.outbox.removeFirst()
            let token = token(for: offer.socket)
            offersOpen[token] = offer.socket
            areOffersLast = all
            let listener = ledger.listeners[offer.socket]
            feed(
                .offered(
                    worker.id, number: offer.number,
                    AcceptedSocket(id: token, listener: listener, sourceHash: random.next() % 5, acceptedAt: now),
                    isLastCopy: all))
            require(offersOpen.isEmpty, "an offer of \(worker.id) was not answered")
        }
    }

    private func die(_ worker: FakeWorker) {
        let statuses: [ExitStatus] = [
            .code(0), .code(1), .code(2), .signal(9, coreDumped: false), .signal(11, coreDumped: true),
        ]
        let honest = climate.badUsage > 0 ? statuses : statuses.filter { $0 != .code(2) }
        let status = honest.randomElement(using: &random) ?? .code(1)
        if chance(20) { feed(.failed(worker.id, .internalError, message: "simulated")) }
        if chance(5) { feed(.drained(worker.id, forced: 0)) }
        leave(worker.id.slot, status, within: 5_000)
    }

    /// The supervisor reaps what has ended, and reads its page for the last time.
    func deliverExit(_ slot: Int) {
        guard case .leaving(let at, _)? = workers[slot]?.stage, at <= now else { return }
        deliverOffers(slot, all: true)
        guard var worker = workers[slot], case .leaving(let at, let status) = worker.stage, at <= now else { return }
        let reading = worker.takeReading(now: now)
        ledger.bury(worker.id)
        formerly[slot] = worker
        workers[slot] = nil
        let isUnreadable = worker.isLiar && chance(50)
        if !isPastReturn { orders.workerDied(worker.generation) }
        feed(.exited(worker.id, status, finalReading: isUnreadable ? nil : reading))
        require(orders.deaths(worker.generation) < 3, "generation \(worker.generation) is not given up")
    }
}
