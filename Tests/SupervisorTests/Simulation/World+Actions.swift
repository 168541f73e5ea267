import Handoff
import Transport

@testable import Supervisor

/// The shell's part: what the supervisor decided is done to the world, and checked against what it could know.
extension World {
    func perform(_ actions: [SupervisorState.Action]) {
        var refusals: [(worker: WorkerID, first: SequenceNumber, refusal: SupervisorState.SendRefusal)] = []
        let isExiting = actions.contains { if case .exit = $0 { true } else { false } }
        for action in actions {
            require(exitCode == nil, "\(action) after the exit")
            switch action {
            case .spawn(let worker, let generation): spawn(worker, generation)
            case .send(let worker, let first, let sockets):
                guard !refusals.contains(where: { $0.worker == worker }) else { continue }
                if let refusal = send(worker, first, sockets) { refusals.append((worker, first, refusal)) }
            case .release(let sockets): for socket in sockets { ledger.release(drop(socket)) }
            case .publishReleased(let slot, let sequence): publishReleased(slot, sequence)
            case .close(let socket, let reason): close(socket, reason, isExiting: isExiting)
            case .pauseAccepting: setAccepting(false)
            case .resumeAccepting: setAccepting(true)
            case .closeListeners: closeListeners()
            case .retireListeners(let listeners): retire(listeners)
            case .commit(let generation, let listeners): commit(generation, listeners)
            case .rollBack(let generation, _): orders.rollBack(generation)
            case .finished(let id, _): orders.finish(id)
            case .takeOffer(let worker, _, let socket): take(socket, from: worker)
            case .refuseOffer(let worker, _, let socket): refuse(socket, of: worker)
            case .drain(let worker, let milliseconds, let rate): drain(worker, milliseconds, rate)
            case .abort(let worker): abort(worker)
            case .stopFast(let worker): stopFast(worker)
            case .kill(let worker): kill(worker)
            case .report: break
            case .exit(let code): exitCode = code
            }
        }
        for (worker, first, refusal) in refusals { feed(.sendRefused(worker, first: first, refusal)) }
        if !refusals.isEmpty { feed(.timer) }
    }

    private func spawn(_ id: WorkerID, _ generation: Generation) {
        while workers.count <= id.slot {
            workers.append(nil)
            formerly.append(nil)
        }
        require(workers.count <= state.slotsMax || id.slot < state.slotsMax, "slot \(id.slot) is too high")
        workersMax = max(workersMax, state.wanted)
        require(workers[id.slot] == nil, "\(id) spawned over a living worker")
        require(stopDeadline == nil, "\(id) spawned during a stop")
        require(
            generation == orders.serving || orders.prepared[generation] != nil, "\(id) for generation \(generation)")
        if let last = formerly[id.slot], last.generation == generation, !last.wasTold, !isCommanded,
            state.succession?.new != id.slot
        {
            restarts.append(now)
            let isServing = state.slots.contains { $0.role == .member && $0.state == .ready }
            if isServing { restartsBesideOthers.append(now) }
        }
        var worker = FakeWorker(
            id: id, generation: generation, migrates: !chance(climate.old),
            stage: .booting(until: chance(climate.bootHangs) ? nil : shortly(200_000)),
            limit: .random(in: 1...40, using: &random))
        worker.isDeaf = chance(climate.deafness)
        workers[id.slot] = worker
        let alive = Set(workers.compactMap { $0?.generation })
        require(alive.union([orders.serving]).count <= 3, "generations \(alive.sorted()) are alive")
    }

    private func send(
        _ id: WorkerID, _ first: SequenceNumber, _ sockets: [SocketID]
    ) -> SupervisorState.SendRefusal? {
        guard var worker = workers[id.slot], worker.id == id else {
            require(false, "sent to \(id), which is gone")
            return nil
        }
        require(worker.stage == .serving || worker.isLeaving, "sent to \(id) before READY or after drain")
        require((1...configuration.batchMax).contains(sockets.count), "a packet of \(sockets.count)")
        require(first == worker.sent, "packet to \(id) begins at \(first) instead of \(worker.sent)")
        if worker.isLeaving, chance(50) { return .gone }
        if chance(climate.refusal) { return chance(50) ? .full : chance(80) ? .tooManyInFlight : .gone }
        require(worker.generation == orders.serving, "sent to \(id) of generation \(worker.generation)")
        let standstill = worker.frozenAt.map { now - $0 } ?? .zero
        require(standstill < Self.stallNoticeMax || wasSuspended, "sent to \(id), which stands still for \(standstill)")
        let isOffer = sockets.contains { offered[$0] != nil }
        require(!isOffer || (sockets.count == 1 && worker.migrates), "offered connections among others, or to \(id)")
        for socket in sockets {
            guard let number = tokens[Int(socket.rawValue)] else {
                require(false, "sent a closed \(socket)")
                continue
            }
            require(orders.listeners.contains(ledger.listeners[number]), "\(id) does not know the listener")
            let since = orders.servedSince[ledger.listeners[number], default: 0]
            require(offered[socket] ?? since >= since, "\(socket) sent to \(id), which has another service for it")
            ledger.deliver(number, to: id)
            worker.inbox.append(number)
        }
        worker.sent += SequenceNumber(sockets.count)
        workers[id.slot] = worker
        require(worker.inflight <= configuration.inflightPerWorkerMax, "\(worker.inflight) in flight to \(id)")
        require(worker.inflight <= Int(worker.read.credit), "\(id) had credit for \(worker.read.credit)")
        // Offered connections are there already: the limit is about those that come.
        guard !isOffer else { return nil }
        let load = workers.compactMap(\.self).filter { !$0.isLiar }.reduce(0) { sum, worker in
            sum + worker.inflight + min(Int(worker.read.live), worker.adoptions)
        }
        let moving = offered.count
        require(load - moving <= configuration.connectionsMax, "\(load) connections, \(moving) of them moving")
        return nil
    }

    /// A second of standing still, a look before and after it, and the turns of the simulation.
    private static let stallNoticeMax: Duration = .milliseconds(2_600)

    private func take(_ id: SocketID, from worker: WorkerID) {
        guard let socket = offersOpen.removeValue(forKey: id) else { return require(false, "\(id) is no offer") }
        require(workers[worker.slot]?.mayOffer == true, "taken from \(worker), which is not to offer anything")
        ledger.take(socket, from: worker)
        offered[id] = workers[worker.slot]?.generation
        workers[worker.slot]?.live.removeAll { $0.socket == socket }
    }

    private func refuse(_ id: SocketID, of worker: WorkerID) {
        guard let socket = offersOpen.removeValue(forKey: id) else { return require(false, "\(id) is no offer") }
        let listener = ledger.listeners[socket]
        let giver = workers[worker.slot]
        let isServed =
            orders.listeners.contains(listener)
            && orders.servedSince[listener, default: 0] <= giver?.generation ?? orders.serving
        let canBeKept = stopDeadline == nil && isServed && giver?.mayOffer == true
        ledger.refuse(socket, of: worker, isLost: areOffersLast && canBeKept)
        tokens[Int(id.rawValue)] = nil
    }

    private func retire(_ listeners: Set<UInt16>) {
        require(listeners.isSubset(of: orders.listeners), "\(listeners) retired but not open")
        retiringListeners.append((shortly(3_000), listeners))
        isPastReturn = true
    }

    private func commit(_ generation: Generation, _ listeners: Set<UInt16>) {
        require(retiringListeners.isEmpty, "generation \(generation) serves while listeners are being retired")
        require(orders.listeners.subtracting(listeners).isSubset(of: listenersRetired), "listeners go unretired")
        orders.commit(generation, listeners)
        isPastReturn = false
    }

    private func abort(_ id: WorkerID) {
        guard let worker = workers[id.slot], worker.id == id else { return require(false, "\(id) aborted but gone") }
        // A dead process' heart does not beat either, until the supervisor has reaped it.
        if !worker.isLiar, !worker.isLeaving {
            let standstill = worker.frozenAt.map { now - $0 } ?? .zero
            require(standstill >= hangTimeout ?? .seconds(1_000_000), "\(id) aborted after \(standstill)")
        }
        if !worker.isLeaving, !worker.isDeaf { leave(id.slot, .signal(6, coreDumped: false), within: 300_000) }
    }

    private func drop(_ id: SocketID) -> Int {
        guard let socket = tokens[Int(id.rawValue)] else {
            require(false, "\(id) is not open")
            return 0
        }
        tokens[Int(id.rawValue)] = nil
        offered[id] = nil
        return socket
    }

    private func publishReleased(_ slot: Int, _ sequence: SequenceNumber) {
        let worker = workers[slot]
        let isBackwards = sequence < (worker?.released ?? 0)
        require(!isBackwards && sequence <= (worker?.adopted ?? 0), "released \(sequence) in slot \(slot)")
        workers[slot]?.released = sequence
    }

    private func close(_ id: SocketID, _ reason: SupervisorState.CloseReason, isExiting: Bool) {
        let isStopping = stopDeadline != nil || exitCode != nil || !state.isRunning
        switch reason {
        case .noWorkerAtStop, .notAdoptedAtStop, .stoppedFast: require(isStopping, "\(reason) without a stop")
        case .adoptionUnknown: require(climate.lie > 0 || climate.arrival == 0, "\(reason) among honest workers")
        case .undeliverable: break
        case .listenerRemoved: require(orders.serving > 0, "\(reason) without a reload")
        }
        ledger.close(drop(id), reason, isExiting: isExiting)
    }

    private func setAccepting(_ isOn: Bool) {
        require(isAccepting != isOn, "accepting is \(isOn) already")
        require(listenersCloseAt == nil && !areListenersClosed || !isOn, "accepting resumed at the end")
        isAccepting = isOn
        if !isOn { pausedAt = now }
    }

    private func closeListeners() {
        require(listenersCloseAt == nil && !areListenersClosed, "listeners closed twice")
        // A supervisor that gives up by itself has a deadline too.
        if stopDeadline == nil { stopDeadline = now + .seconds(1) }
        isAccepting = false
        listenersCloseAt = chance(10) ? .distantFuture : shortly(3_000)
    }

    private func drain(_ id: WorkerID, _ milliseconds: UInt32, _ rate: UInt32) {
        guard workers[id.slot]?.id == id, let worker = workers[id.slot] else {
            return require(false, "\(id) drained but gone")
        }
        let deadline = stopDeadline ?? now + configuration.retireTimeout
        require(now + .milliseconds(milliseconds) <= deadline, "\(id) may drain for too long")
        require(rate == 0 || (stopDeadline == nil && worker.migrates), "\(id) is to offer what nobody takes")
        workers[id.slot]?.wasTold = true
        workers[id.slot]?.mayOffer = rate > 0
        if worker.isDeaf { return }
        switch worker.stage {
        case .serving, .draining: workers[id.slot]?.stage = .draining(until: now + .milliseconds(milliseconds))
        case .booting, .leaving: break
        }
    }

    private func stopFast(_ id: WorkerID) {
        guard workers[id.slot]?.id == id, let worker = workers[id.slot] else {
            return require(false, "\(id) stopped but gone")
        }
        workers[id.slot]?.wasTold = true
        if !worker.isLeaving, !worker.isDeaf { leave(id.slot, .code(0), within: 300_000) }
    }

    private func kill(_ id: WorkerID) {
        guard workers[id.slot]?.id == id, let worker = workers[id.slot] else {
            return require(false, "\(id) killed but gone")
        }
        // A process in an uninterruptible sleep dies late.
        if !worker.isLeaving || worker.isDeaf {
            leave(id.slot, .signal(9, coreDumped: false), within: chance(climate.undead) ? 3_000_000 : 3_000)
        }
    }
}

extension SupervisorState {
    var isRunning: Bool {
        if case .running = phase { return true }
        return false
    }
}
