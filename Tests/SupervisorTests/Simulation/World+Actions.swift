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
            case .spawn(let worker): spawn(worker)
            case .send(let worker, let first, let sockets):
                guard !refusals.contains(where: { $0.worker == worker }) else { continue }
                if let refusal = send(worker, first, sockets) { refusals.append((worker, first, refusal)) }
            case .release(let sockets): for socket in sockets { ledger.release(drop(socket)) }
            case .publishReleased(let slot, let sequence): publishReleased(slot, sequence)
            case .close(let socket, let reason): close(socket, reason, isExiting: isExiting)
            case .pauseAccepting: setAccepting(false)
            case .resumeAccepting: setAccepting(true)
            case .closeListeners: closeListeners()
            case .drain(let worker, let milliseconds): drain(worker, milliseconds)
            case .stopFast(let worker): stopFast(worker)
            case .kill(let worker): kill(worker)
            case .report: break
            case .exit(let code): exitCode = code
            }
        }
        for (worker, first, refusal) in refusals { feed(.sendRefused(worker, first: first, refusal)) }
        if !refusals.isEmpty { feed(.timer) }
    }

    private func spawn(_ id: WorkerID) {
        require(workers[id.slot] == nil, "\(id) spawned over a living worker")
        require(stopDeadline == nil, "\(id) spawned during a stop")
        if id.incarnation > 0 {
            restarts.append(now)
            if state.slots.contains(where: { $0.state == .ready }) { restartsBesideOthers.append(now) }
        }
        var worker = FakeWorker(
            id: id, stage: .booting(until: chance(climate.bootHangs) ? nil : shortly(200_000)),
            limit: .random(in: 1...40, using: &random))
        worker.isDeaf = chance(climate.deafness)
        workers[id.slot] = worker
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
        for socket in sockets {
            guard let number = tokens[Int(socket.rawValue)] else {
                require(false, "sent a closed \(socket)")
                continue
            }
            ledger.deliver(number, to: id)
            worker.inbox.append(number)
        }
        worker.sent += SequenceNumber(sockets.count)
        workers[id.slot] = worker
        require(worker.inflight <= configuration.inflightPerWorkerMax, "\(worker.inflight) in flight to \(id)")
        require(worker.inflight <= Int(worker.read.credit), "\(id) had credit for \(worker.read.credit)")
        let load = workers.compactMap(\.self).filter { !$0.isLiar }.reduce(0) { sum, worker in
            sum + worker.inflight + min(Int(worker.read.live), worker.adoptions)
        }
        require(load <= configuration.connectionsMax, "\(load) connections")
        return nil
    }

    private func drop(_ id: SocketID) -> Int {
        guard let socket = tokens[Int(id.rawValue)] else {
            require(false, "\(id) is not open")
            return 0
        }
        tokens[Int(id.rawValue)] = nil
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
        }
        ledger.close(drop(id), reason, isExiting: isExiting)
    }

    private func setAccepting(_ isOn: Bool) {
        require(isAccepting != isOn, "accepting is \(isOn) already")
        require(stopDeadline == nil || !isOn, "accepting resumed during a stop")
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

    private func drain(_ id: WorkerID, _ milliseconds: UInt32) {
        guard workers[id.slot]?.id == id, let worker = workers[id.slot] else {
            return require(false, "\(id) drained but gone")
        }
        require(now + .milliseconds(milliseconds) <= stopDeadline ?? now, "\(id) may drain past the exit")
        if worker.stage == .serving, !worker.isDeaf {
            workers[id.slot]?.stage = .draining(until: now + .milliseconds(milliseconds))
        }
    }

    private func stopFast(_ id: WorkerID) {
        guard workers[id.slot]?.id == id, let worker = workers[id.slot] else {
            return require(false, "\(id) stopped but gone")
        }
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
