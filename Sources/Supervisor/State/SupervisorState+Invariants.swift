/// What must hold between any two events. The simulation asks after each.
extension SupervisorState {
    /// A sentence for each invariant that does not hold. Empty in a state that is sound.
    func brokenInvariants() -> [String] {
        var broken: [String] = []
        func require(_ holds: Bool, _ rule: @autoclosure () -> String) {
            if !holds { broken.append(rule()) }
        }
        var held = Set<SocketID>()
        for queue in [pending.fresh, pending.offered] {
            var previous: UInt64?
            for socket in queue.all {
                require(held.insert(socket.socket.id).inserted, "\(socket.socket.id) is pending twice")
                require(previous.map { $0 < socket.order } ?? true, "\(socket.socket.id) is pending out of order")
                previous = socket.order
            }
        }
        for slot in slots {
            for socket in slot.inflight.all {
                require(held.insert(socket.socket.id).inserted, "\(socket.socket.id) is in two places")
            }
            require(slot.inflight.unsent == 0, "slot \(slot.index) has sockets in no packet")
            require(
                slot.role == .retired || slot.inflight.count <= configuration.inflightPerWorkerMax,
                "slot \(slot.index) has too much in flight")
            require(slot.role != .free || slot.state == .vacant, "slot \(slot.index) is free but not vacant")
            require(slot.role != .retired || slot.isLiving, "slot \(slot.index) is retired but empty")
            require(slot.role != .candidate || slot.load == 0, "slot \(slot.index) has connections before its turn")
            switch slot.state {
            case .vacant, .backingOff, .starting:
                require(slot.load == 0, "slot \(slot.index) has connections without a ready worker")
            case .ready, .draining, .dying:
                break
            }
        }
        require(intake != .accepting || pending.fresh.isEmpty, "accepting while sockets are pending")
        require(slots.count <= 4_096, "\(slots.count) slots")
        requirePhase(held: held.count, require)
        requirePool(require)
        return broken
    }

    private func requirePhase(held: Int, _ require: (Bool, @autoclosure () -> String) -> Void) {
        let isOpen = intake == .paused || intake == .accepting
        var (backsOff, drains) = (false, false)
        for slot in slots {
            if case .backingOff = slot.state { backsOff = true }
            if case .draining = slot.state, slot.role != .retired { drains = true }
        }
        switch phase {
        case .idle:
            require(held == 0 && !slots.contains(where: \.isLiving), "something before the start")
        case .running:
            require(isOpen, "listeners closed while running")
            require(!drains, "a worker that is wanted drains")
            let isHopeful = replacement != nil || members.contains { $0.state != .vacant }
            require(isHopeful, "running without a worker or the prospect of one")
        case .stopping(let plan):
            require(!backsOff, "a restart planned while stopping")
            require(noneAsked, "a command goes on while stopping")
            if case .delaying = plan.stage { return require(isOpen, "listeners closed before the delay is over") }
            require(!isOpen, "listeners open while stopping")
            if case .handingOut = plan.stage { return }
            require(pending.isEmpty, "sockets pending when nobody takes any")
            require(!slots.contains { $0.state == .ready || $0.isStarting }, "a worker was not told of the stop")
        case .exited:
            require(held == 0, "sockets held after the exit")
        }
    }

    private var noneAsked: Bool {
        replacement == nil && succession == nil && scaleWaits.isEmpty
    }

    /// The parts of the slots fit together.
    private func requirePool(_ require: (Bool, @autoclosure () -> String) -> Void) {
        guard case .running = phase else { return }
        var seats: Set<Int> = []
        var alive: Set<Generation> = [generation]
        var candidates: [Int] = []
        for slot in slots {
            if slot.isLiving { alive.insert(slot.generation) }
            switch slot.role {
            case .free, .retired: break
            case .member:
                require(
                    seats.insert(slot.seat).inserted && slot.seat < wanted, "no seat \(slot.seat) for \(slot.index)")
                require(slot.generation == generation, "member \(slot.index) is of generation \(slot.generation)")
            case .candidate:
                candidates.append(slot.index)
                let expected = replacement?.generation ?? generation
                require(slot.generation == expected, "candidate \(slot.index) is of generation \(slot.generation)")
            }
        }
        require(seats.count == wanted, "\(seats.count) members, \(wanted) wanted")
        require(alive.count <= 3, "\(alive.count) generations alive")
        require(replacement == nil || succession == nil, "a worker is recycled although all are replaced")
        require(isExpected(candidates), "the candidates are not those of what is under way")
        let isUnknown = pending.contains { !listeners.contains($0.socket.listener) }
        require(!isUnknown, "a socket waits, but nobody knows its listener")
    }

    private func isExpected(_ candidates: [Int]) -> Bool {
        guard let next = replacement else { return candidates == (succession.map { [$0.new] } ?? []) }
        if case .waiting = next.stage { return candidates.isEmpty }
        return candidates.count == next.configuration.workerCount
    }
}
