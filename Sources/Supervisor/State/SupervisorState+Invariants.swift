/// What must hold between any two events. The simulation asks after each.
extension SupervisorState {
    /// A sentence for each invariant that does not hold. Empty in a state that is sound.
    func brokenInvariants() -> [String] {
        var broken: [String] = []
        func require(_ holds: Bool, _ rule: @autoclosure () -> String) {
            if !holds { broken.append(rule()) }
        }
        var held = Set<SocketID>()
        var previous: UInt64?
        for socket in pending.all {
            require(held.insert(socket.socket.id).inserted, "\(socket.socket.id) is pending twice")
            require(previous.map { $0 < socket.order } ?? true, "\(socket.socket.id) is pending out of order")
            previous = socket.order
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
        require(intake != .accepting || pending.isEmpty, "accepting while sockets are pending")
        require(slots.count <= 4_096, "\(slots.count) slots")
        requirePhase(held: held.count, require)
        requirePool(require)
        return broken
    }

    private func requirePhase(held: Int, _ require: (Bool, @autoclosure () -> String) -> Void) {
        let isOpen = intake == .paused || intake == .accepting
        let backsOff = slots.contains { if case .backingOff = $0.state { true } else { false } }
        let drains = slots.contains { if case .draining = $0.state { $0.role != .retired } else { false } }
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
        replacement == nil && reloadNext == nil && succession == nil && scaleWaits.isEmpty
    }

    /// The parts of the slots fit together.
    private func requirePool(_ require: (Bool, @autoclosure () -> String) -> Void) {
        guard case .running = phase else { return }
        require(members.count == wanted, "\(members.count) members, \(wanted) wanted")
        require(Set(members.map(\.seat)) == Set(0..<wanted), "the members' seats are \(Array(members.map(\.seat)))")
        require(members.allSatisfy { $0.generation == generation }, "a member of another generation")
        let alive = Set(slots.lazy.filter(\.isLiving).map(\.generation)).union([generation])
        require(alive.count <= 3, "\(alive.count) generations alive")
        require(replacement == nil || succession == nil, "a worker is recycled although all are replaced")
        require(candidatesFit, "the candidates are not those of what is under way")
        require(
            pending.all.allSatisfy { listeners.contains($0.socket.listener) }, "sockets of a removed listener wait")
    }

    private var candidatesFit: Bool {
        let candidates = slots.filter { $0.role == .candidate }
        guard let next = replacement else { return candidates.map(\.index) == succession.map { [$0.new] } ?? [] }
        if case .waiting = next.stage { return candidates.isEmpty }
        return candidates.count == next.configuration.workerCount
            && candidates.allSatisfy { $0.generation == next.generation }
    }
}
