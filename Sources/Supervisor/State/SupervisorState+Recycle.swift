import Transport

/// One worker after the other is replaced by a fresh one, which is ready before the old one drains.
extension SupervisorState {
    /// `drain(slot:)`: an operator wants that worker replaced.
    mutating func drain(_ id: CommandID?, slot: Int, _ now: MonotonicTime, _ actions: inout [Action]) {
        var reason = noScaling
        if reason == nil, !slots.indices.contains(slot) || slots[slot].role != .member || slots[slot].state != .ready {
            reason = "there is no worker in slot \(slot) that takes connections"
        }
        if reason == nil, succession != nil { reason = "another worker is being replaced" }
        if reason == nil, slotsFree == 0 { reason = "too many earlier workers are still draining" }
        if let reason { return actions.append(.finished(id, .refused(reason))) }
        succeed(slot, .command, id, now, &actions)
    }

    /// Starts a successor of the first worker that has reached one of its limits.
    mutating func recycle(_ now: MonotonicTime, _ actions: inout [Action]) {
        guard noScaling == nil, succession == nil, recycleAfter <= now, intensity.mode == .normal, isComplete,
            slotsFree > 0
        else { return }
        for index in slots.indices {
            guard let reason = slots[index].limitReached(configuration.recycle, now: now) else { continue }
            if reason == .memory, slots[index].isKeptThoughLarge(now: now) {
                if slots[index].complain() { actions.append(.report(.recycledInVain(slots[index].worker))) }
                continue
            }
            return succeed(index, reason, nil, now, &actions)
        }
    }

    private mutating func succeed(
        _ old: Int, _ reason: RecycleReason, _ id: CommandID?, _ now: MonotonicTime, _ actions: inout [Action]
    ) {
        let new = enlist(.candidate, seat: slots[old].seat, generation: generation, now, &actions)
        if reason == .memory { slots[new].succeedsLarge() }
        succession = Succession(old: old, new: new, reason: reason, command: id)
    }

    /// The successor is ready, or the old worker died before it was: it takes the place.
    mutating func completeSuccession(_ now: MonotonicTime, _ actions: inout [Action]) {
        guard let current = succession else { return }
        succession = nil
        let (old, new) = (slots[current.old].worker, slots[current.new].worker)
        slots[current.new].promote()
        retire(current.old, now, &actions)
        actions.append(.report(.recycled(old, by: new, current.reason)))
        if current.reason == .command {
            let sentence = "the worker in slot \(old.slot) is replaced by the one in slot \(new.slot)"
            actions.append(.finished(current.command, .done(sentence)))
        } else {
            counters.recycled += 1
        }
    }

    /// The successor is given up; the old worker goes on.
    mutating func failSuccession(_ reason: String, _ now: MonotonicTime, _ actions: inout [Action]) {
        guard let current = succession else { return }
        succession = nil
        recycleAfter = now + Succession.pauseAfterFailure
        discard(current.new, now, &actions)
        if current.reason == .command { actions.append(.finished(current.command, .failed(reason))) }
    }
}

extension WorkerSlot {
    /// Whether it takes the place of one that had grown too large, and has not had the time to grow like that.
    fileprivate func isKeptThoughLarge(now: MonotonicTime) -> Bool {
        guard isLargeOnesSuccessor, let readySince else { return false }
        return now - readySince < RecyclePolicy.memoryLifetimeMin
    }

    /// The limit that the worker has reached, if it has.
    fileprivate func limitReached(_ policy: RecyclePolicy, now: MonotonicTime) -> RecycleReason? {
        guard role == .member, state == .ready, let readySince, now - readySince >= policy.lifetimeMin else {
            return nil
        }
        func vary(_ limit: UInt64) -> UInt64 { limit / 1_000 * limitPermille + limit % 1_000 * limitPermille / 1_000 }
        if let limit = policy.ageMax, (now - readySince).wholeNanoseconds >= vary(limit.wholeNanoseconds) {
            return .age
        }
        // Without those that moved here: else a worker that takes over as many as the limit would be recycled at once, its
        // successor after it, and so on for ever.
        if let limit = policy.connectionsMax, adoptedCount - movedCount >= vary(limit) { return .connections }
        if let limit = policy.memoryMax, memory >= vary(limit) { return .memory }
        return nil
    }
}
