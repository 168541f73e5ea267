import Transport

/// Reload and upgrade: a new generation becomes ready beside the old one, and takes over or is given up.
extension SupervisorState {
    mutating func replaceAll(_ next: Replacement, _ now: MonotonicTime, _ actions: inout [Action]) {
        if let reason = noCommands { return decline(next, reason, now, &actions) }
        if let current = replacement {
            return decline(next, "a \(current.reason.rawValue) is under way", now, &actions)
        }
        failSuccession("all workers are being replaced", now, &actions)
        replacement = next
        actions.append(.report(.replacementStarted(next.generation, next.reason)))
    }

    /// Nothing was begun for it.
    private mutating func decline(
        _ next: Replacement, _ reason: String, _ now: MonotonicTime, _ actions: inout [Action]
    ) {
        actions.append(.rollBack(next.generation, reason: reason))
        conclude(next, .refused(reason), now, &actions)
    }

    /// The replacement's next stage, when its time has come.
    mutating func advanceReplacement(_ now: MonotonicTime, _ actions: inout [Action]) {
        guard case .running = phase, let next = replacement else { return }
        switch next.stage {
        case .waiting:
            let count = next.configuration.workerCount
            guard generationsDraining <= Replacement.drainingMax, slotsFree >= count else { return }
            replacement?.stage = .booting
            for seat in 0..<count {
                _ = enlist(.candidate, seat: seat, generation: next.generation, now, &actions)
            }
        case .booting:
            guard slots.allSatisfy({ $0.role != .candidate || $0.state == .ready }) else { return }
            let removed = listeners.subtracting(next.listeners)
            if removed.isEmpty { return complete(next, now, &actions) }
            replacement?.stage = .retiringListeners
            actions.append(.retireListeners(removed))
        case .retiringListeners:
            break
        case .emptying(let until):
            if until <= now || !isAwaited(listeners.subtracting(next.listeners)) { complete(next, now, &actions) }
        }
    }

    private mutating func complete(_ next: Replacement, _ now: MonotonicTime, _ actions: inout [Action]) {
        commit(next, now, &actions)
        // A reload may have come meanwhile.
        advanceReplacement(now, &actions)
    }

    /// The listeners that the new generation does not have are closed.
    mutating func listenersRetired(_ now: MonotonicTime) {
        guard case .retiringListeners? = replacement?.stage else { return }
        replacement?.stage = .emptying(until: now + Replacement.emptyingMax)
    }

    /// Whether a socket of these listeners has not been adopted.
    private func isAwaited(_ listeners: Set<UInt16>) -> Bool {
        pending.contains { listeners.contains($0.socket.listener) }
            || members.contains { $0.inflight.all.contains { listeners.contains($0.socket.listener) } }
    }

    /// Generations alive that neither serve nor are about to.
    private var generationsDraining: Int {
        Set(slots.lazy.filter { $0.isLiving && $0.generation != self.generation }.map(\.generation)).count
    }

    private mutating func commit(_ next: Replacement, _ now: MonotonicTime, _ actions: inout [Action]) {
        replacement = nil
        generation = next.generation
        configuration = next.configuration
        listeners = next.listeners
        servedSince = servedSince.filter { listeners.contains($0.key) }
        for listener in next.changed { servedSince[listener] = generation }
        wanted = configuration.workerCount
        balancer.adopt(configuration)
        intensity.adopt(configuration.restart, workerCount: wanted)
        counters.replacements += 1
        actions.append(.commit(generation, listeners))
        for index in slots.indices where slots[index].role == .member { retire(index, now, &actions) }
        for index in slots.indices where slots[index].role == .candidate { slots[index].promote() }
        closeUnknown(&actions)
        actions.append(.report(.replaced(generation)))
        conclude(next, .done("generation \(generation) serves with \(counted(wanted, "worker"))"), now, &actions)
        reportFirstCompletion(&actions)
    }

    /// The new generation comes to nothing; the old one never ceased to serve.
    mutating func rollBack(_ reason: String, _ now: MonotonicTime, _ actions: inout [Action]) {
        guard let next = replacement else { return }
        replacement = nil
        counters.rollBacks += 1
        for index in slots.indices where slots[index].role == .candidate { discard(index, now, &actions) }
        actions.append(.rollBack(next.generation, reason: reason))
        actions.append(.report(.rolledBack(next.generation, reason)))
        conclude(next, .failed(reason), now, &actions)
    }

    private mutating func conclude(
        _ last: Replacement, _ outcome: CommandOutcome, _ now: MonotonicTime, _ actions: inout [Action]
    ) {
        lastReplacement = outcome
        actions.append(.finished(last.command, outcome))
    }

    /// A worker of the new generation died. Returns whether a restart is due.
    mutating func candidateDied(_ obituary: WorkerSlot.Obituary, _ now: MonotonicTime, _ actions: inout [Action])
        -> Bool
    {
        guard case .booting? = replacement?.stage else { return true }
        replacement?.failures += 1
        if obituary.code == .badUsage {
            rollBack("the new workers reject their options", now, &actions)
        } else if replacement?.failures == Replacement.failuresMax {
            rollBack("\(Replacement.failuresMax) new workers died", now, &actions)
        } else {
            return true
        }
        return false
    }
}
