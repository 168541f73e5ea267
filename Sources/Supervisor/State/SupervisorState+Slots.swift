import Transport

/// Slots: who sits where, and what for.
extension SupervisorState {
    /// Slot numbers are below this, at most 4,096.
    public var slotsMax: Int {
        min(4 * max(wanted, replacement?.configuration.workerCount ?? 0) + 8, 4_096)
    }

    /// Workers that could be added.
    var slotsFree: Int {
        max(0, slotsMax - slots.count) + slots.count { $0.role == .free }
    }

    /// Gives a part to a free slot, a new one if need be, and starts its first worker.
    ///
    /// - Precondition: ``slotsFree`` is not zero.
    mutating func enlist(
        _ role: WorkerRole, seat: Int, generation: Generation, _ now: MonotonicTime, _ actions: inout [Action]
    ) -> Int {
        let index = slots.firstIndex { $0.role == .free } ?? slots.count
        if index == slots.count { slots.append(WorkerSlot(index: index)) }
        slots[index].appoint(role, seat: seat, generation: generation)
        spawn(index, now, &actions)
        return index
    }

    /// Starts the slot's next worker.
    mutating func spawn(_ index: Int, _ now: MonotonicTime, _ actions: inout [Action]) {
        let timeout = (isNext(slots[index].generation) ?? configuration).bootTimeout
        actions.append(
            .spawn(slots[index].spawn(bootDeadline: now + timeout, now: now), slots[index].generation))
    }

    private func isNext(_ generation: Generation) -> SupervisorConfiguration? {
        replacement?.generation == generation ? replacement?.configuration : nil
    }

    /// The worker in the slot is not wanted any more, because others do its work: it drains and gives away what it has.
    mutating func retire(_ index: Int, _ now: MonotonicTime, _ actions: inout [Action]) {
        let worker = slots[index].worker
        slots[index].retire()
        switch slots[index].state {
        case .ready:
            let timeout = configuration.retireTimeout
            slots[index].drain(killAt: now + timeout)
            let milliseconds = UInt32(clamping: (timeout - .seconds(1)).wholeNanoseconds / 1_000_000)
            let rate = slots[index].migrates ? migrationRate(slots[index].load) : 0
            slots[index].isToOffer = rate > 0
            actions.append(.drain(worker, milliseconds: milliseconds, migrationsPerSecond: rate))
            actions.append(.report(.retired(worker)))
        case .starting:
            dismiss(index, killAt: now + StopPlan.leaveTimeout, &actions)
        case .vacant, .backingOff, .draining, .dying:
            break
        }
    }

    /// How many of so many connections a worker moves per second: as configured, and more where that would not move them
    /// all in half of the time that it has.
    private func migrationRate(_ connections: Int) -> UInt32 {
        guard configuration.migrationsPerSecond > 0 else { return 0 }
        let seconds = Int(configuration.retireTimeout.components.seconds / 2)
        return max(configuration.migrationsPerSecond, UInt32(clamping: (connections + seconds - 1) / seconds))
    }

    /// The worker in the slot never had a connection, or must not keep any: it is told to leave at once.
    mutating func dismiss(_ index: Int, killAt: MonotonicTime, _ actions: inout [Action]) {
        switch slots[index].state {
        case .starting, .ready, .draining: actions.append(.stopFast(slots[index].worker))
        case .vacant, .backingOff, .dying: break
        }
        slots[index].leave(killAt: killAt)
    }

    /// A candidate that came to nothing.
    mutating func discard(_ index: Int, _ now: MonotonicTime, _ actions: inout [Action]) {
        slots[index].retire()
        dismiss(index, killAt: now + StopPlan.leaveTimeout, &actions)
    }

    var members: LazyFilterSequence<[WorkerSlot]> { slots.lazy.filter { $0.role == .member } }

    /// Every member is ready, except those that no restart can mend.
    var isComplete: Bool {
        slots.allSatisfy { $0.role != .member || $0.state == .ready || $0.state == .vacant }
    }
}
