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
                slot.inflight.count <= configuration.inflightPerWorkerMax, "slot \(slot.index) has too much in flight")
            switch slot.state {
            case .vacant, .backingOff, .starting:
                require(slot.load == 0, "slot \(slot.index) has connections without a ready worker")
            case .ready, .draining, .dying:
                break
            }
        }
        require(intake != .accepting || pending.isEmpty, "accepting while sockets are pending")
        requirePhase(held: held.count, require)
        return broken
    }

    private func requirePhase(held: Int, _ require: (Bool, @autoclosure () -> String) -> Void) {
        let isOpen = intake == .paused || intake == .accepting
        let backsOff = slots.contains { if case .backingOff = $0.state { true } else { false } }
        let drains = slots.contains { if case .draining = $0.state { true } else { false } }
        switch phase {
        case .idle:
            require(held == 0 && !slots.contains(where: \.isLiving), "something before the start")
        case .running:
            require(isOpen, "listeners closed while running")
            require(!drains, "a worker drains while running")
            require(slots.contains { $0.state != .vacant }, "running without a worker or the prospect of one")
        case .stopping(let plan):
            require(!isOpen, "listeners open while stopping")
            require(!backsOff, "a restart planned while stopping")
            if case .handingOut = plan.stage { return }
            require(pending.isEmpty, "sockets pending when nobody takes any")
            require(!slots.contains { $0.state == .ready || $0.isStarting }, "a worker was not told of the stop")
        case .exited:
            require(held == 0, "sockets held after the exit")
        }
    }
}
