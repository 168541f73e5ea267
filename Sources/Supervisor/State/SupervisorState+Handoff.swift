import Handoff
import Transport

/// Sockets: from the accept queue to a worker, and back when that fails.
extension SupervisorState {
    /// How long a worker rests whose socket was full, and everybody when too many descriptors are in flight.
    static let refusalPause: Duration = .milliseconds(1)
    /// How long a worker rests that rejected a socket: its table of descriptors does not empty in a moment.
    static let rejectionPause: Duration = .milliseconds(50)
    /// How long accepting rests once all places are taken, unless many become free: each start and stop of it costs two
    /// operations per listener, and clients that come and go at the limit would cause one with every look at the pages.
    static let fullPause: Duration = .milliseconds(10)
    /// How long a worker that closed its hand-off socket may take to exit.
    static let gonePause: Duration = .milliseconds(250)

    /// Connections of all workers, live and on the way.
    var load: Int { slots.reduce(0) { $0 + $1.load } }

    /// Why no socket can have a worker any more; nil while it can.
    var noDelivery: CloseReason? {
        switch phase {
        case .idle, .running: return nil
        case .exited: return .stoppedFast
        case .stopping(let plan):
            switch plan.stage {
            case .delaying, .handingOut: return nil
            case .draining: return .noWorkerAtStop
            case .fast: return .stoppedFast
            }
        }
    }

    mutating func take(_ sockets: [AcceptedSocket], _ actions: inout [Action]) {
        for socket in sockets {
            let held = HeldSocket(socket: socket, order: orderNext)
            orderNext += 1
            counters.accepted += 1
            if let reason = noDelivery {
                close([held], reason, &actions)
            } else if !listeners.contains(socket.listener) {
                close([held], .listenerRemoved, &actions)
            } else {
                // Unbounded here on purpose: a multishot accept may have taken a whole backlog before a pause reaches it,
                // and what is accepted is kept. Each holds a descriptor, so RLIMIT_NOFILE is the bound.
                pending.append(held)
            }
        }
    }

    /// Hands out what is pending, as far as there is room.
    mutating func dispatch(_ now: MonotonicTime, _ actions: inout [Action]) {
        if noDelivery == nil, holdOffUntil == nil { assignPending(now, &actions) }
        for index in slots.indices {
            while let batch = slots[index].nextBatch(max: configuration.batchMax) {
                actions.append(.send(slots[index].worker, first: batch.first, batch.sockets))
                watch.progress(now: now)
            }
        }
    }

    private mutating func assignPending(_ now: MonotonicTime, _ actions: inout [Action]) {
        var room = configuration.connectionsMax - load
        var (isFreshDue, isOfferedDue) = (true, true)
        while let held = pending.first(fresh: isFreshDue, offered: isOfferedDue) {
            if held.isOffered, isUnwelcome(held) {
                pending.removeFirst(held)
                close([held], .undeliverable, &actions)
                continue
            }
            // An offered connection is counted already: a worker had it.
            guard room > 0 || held.isOffered, let index = balancer.choose(among: slots, for: held, now: now) else {
                // What cannot go keeps those of its kind behind it, for their order's sake, but not the others.
                if held.isOffered { isOfferedDue = false } else { isFreshDue = false }
                continue
            }
            pending.removeFirst(held)
            slots[index].assign(held)
            room -= 1
        }
    }

    /// Whether its listener has another kind of service by now, or every member is ready and none understands the socket:
    /// waiting is in vain.
    private func isUnwelcome(_ held: HeldSocket) -> Bool {
        !isKindServed(held) || isComplete && !members.contains { $0.state == .ready && $0.canTake(held) }
    }

    /// Closes what waits although its listener is not served any more.
    mutating func closeUnknown(_ actions: inout [Action]) {
        guard pending.contains(where: { !listeners.contains($0.socket.listener) }) else { return }
        let waiting = pending.removeAll()
        pending.putBack(waiting.filter { listeners.contains($0.socket.listener) })
        close(waiting.filter { !listeners.contains($0.socket.listener) }, .listenerRemoved, &actions)
    }

    /// A worker's page was read.
    mutating func read(_ index: Int, _ reading: PageReading, _ now: MonotonicTime, _ actions: inout [Action]) {
        guard slots.indices.contains(index), slots[index].isLiving else { return }
        let before = slots[index].inflight.first
        guard let settled = slots[index].absorb(reading) else { return condemn(index, &actions) }
        feelPulse(index, reading.heartbeat, now, &actions)
        guard slots[index].inflight.first != before else { return }
        watch.progress(now: now)
        release(settled.adopted, &actions)
        actions.append(.publishReleased(index, slots[index].inflight.first))
        guard !settled.rejected.isEmpty else { return }
        actions.append(.report(.rejected(slots[index].worker, count: settled.rejected.count)))
        slots[index].holdOff(until: now + Self.rejectionPause)
        redeliver(settled.rejected, &actions)
        regulateIntake(now, &actions)
    }

    mutating func release(_ sockets: [SocketID], _ actions: inout [Action]) {
        guard !sockets.isEmpty else { return }
        counters.adopted += UInt64(sockets.count)
        actions.append(.release(sockets))
    }

    /// A packet did not go out. Other workers' refusals may be under way, so nothing is sent before all are in.
    mutating func refused(
        _ worker: WorkerID, _ first: SequenceNumber, _ refusal: SendRefusal, _ now: MonotonicTime,
        _ actions: inout [Action]
    ) {
        guard let index = slot(of: worker) else { return }
        putBack(slots[index].takeBack(from: first), orClose: .noWorkerAtStop, &actions)
        watch.progress(now: now)
        switch refusal {
        case .full: slots[index].holdOff(until: now + Self.refusalPause)
        case .tooManyInFlight: holdOffUntil = now + Self.refusalPause
        case .gone: slots[index].leave(killAt: now + Self.gonePause)
        }
        regulateIntake(now, &actions)
    }

    /// These were sent, but the worker did not take them and never will.
    mutating func redeliver(_ sockets: [HeldSocket], _ actions: inout [Action]) {
        var again: [HeldSocket] = []
        for var held in sockets {
            held.failures += 1
            if held.failures >= configuration.deliveriesMax {
                close([held], .undeliverable, &actions)
            } else {
                again.append(held)
            }
        }
        if noDelivery == nil { counters.redelivered += UInt64(again.count) }
        putBack(again, orClose: .notAdoptedAtStop, &actions)
    }

    private mutating func putBack(
        _ sockets: [HeldSocket], orClose reason: CloseReason, _ actions: inout [Action]
    ) {
        switch noDelivery {
        case nil:
            pending.putBack(sockets)
            closeUnknown(&actions)
        case .stoppedFast: close(sockets, .stoppedFast, &actions)
        case .some: close(sockets, reason, &actions)
        }
    }

    /// The worker's page lies: kill it. What it has not adopted by its own word may still be served by it, so it cannot
    /// go to another.
    mutating func condemn(_ index: Int, _ actions: inout [Action]) {
        guard slots.indices.contains(index), slots[index].isLiving else { return }
        if slots[index].state != .dying(killAt: nil) { actions.append(.report(.pageCorrupt(slots[index].worker))) }
        close(slots[index].disown(), .adoptionUnknown, &actions)
        kill(index, &actions)
    }

    /// Accepting goes on only while every accepted socket can be handed out at once.
    ///
    /// A pause for want of room on the way, as in a burst, ends with the want. One since which all places were taken lasts
    /// for ``fullPause``, unless a twentieth of the capacity becomes free before; then a single place is filled too.
    mutating func regulateIntake(_ now: MonotonicTime, _ actions: inout [Action]) {
        let load = self.load
        let space = max(0, configuration.connectionsMax - load)
        let spare = min(space, slots.reduce(0) { $0 + $1.spare })
        let hasRoom =
            spare > 0 && holdOffUntil == nil && pending.fresh.isEmpty
            && slots.contains { $0.room(inflightMax: configuration.inflightPerWorkerMax) > 0 }
        switch intake {
        case .accepting where !hasRoom:
            intake = .paused
            fullUntil = spare == 0 ? now + Self.fullPause : nil
            actions.append(.pauseAccepting)
        case .paused where hasRoom && (isRested(now) || spare * 20 >= spare + load):
            intake = .accepting
            actions.append(.resumeAccepting)
        case .accepting, .paused, .closing, .closed:
            break
        }
    }

    /// Whether a single free place is enough. No timer is needed to find out: while accepting is paused, the pages are
    /// looked at every few milliseconds.
    private func isRested(_ now: MonotonicTime) -> Bool { fullUntil.map { $0 <= now } ?? true }

    /// What the pages are looked at for.
    var pageNeed: PageWatch.Need {
        if slots.contains(where: { !$0.inflight.isEmpty }) { return .progress }
        let wantsCredit = !pending.isEmpty || intake == .paused
        if wantsCredit, slots.contains(where: { $0.role == .member && $0.state == .ready }) { return .progress }
        return slots.contains(where: \.isLiving) ? .heartbeats : .none
    }
}
