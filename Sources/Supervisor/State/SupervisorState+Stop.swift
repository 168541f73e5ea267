import Handoff
import Transport

/// The end: graceful, fast, or because nothing ever worked.
extension SupervisorState {
    mutating func stop(_ kind: StopKind, _ now: MonotonicTime, _ actions: inout [Action]) {
        switch phase {
        case .idle, .running:
            guard kind == .graceful, configuration.grace > .zero else {
                return stopFast(exitCode: .success, now, &actions)
            }
            let plan = StopPlan.graceful(now: now, grace: configuration.grace, delay: configuration.drainDelay)
            prepareStop(now, &actions)
            phase = .stopping(plan)
            if case .handingOut = plan.stage { closeIntake(&actions) }
        case .stopping:
            stopFast(exitCode: .success, now, &actions)
        case .exited:
            break
        }
    }

    /// Cuts everything now. The exit code of a stop already under way stands.
    mutating func stopFast(exitCode: ExitCode, _ now: MonotonicTime, _ actions: inout [Action]) {
        var earlier: StopPlan?
        if case .stopping(let plan) = phase { earlier = plan }
        if case .fast? = earlier?.stage { return }
        let plan = StopPlan.fast(now: now, exitCode: exitCode, insteadOf: earlier)
        if earlier == nil { prepareStop(now, &actions) }
        phase = .stopping(plan)
        closeIntake(&actions)
        close(pending.removeAll(), .stoppedFast, &actions)
        for index in slots.indices where slots[index].isLiving { dismiss(index, killAt: plan.killAt, &actions) }
    }

    /// Nobody is started any more.
    private mutating func prepareStop(_ now: MonotonicTime, _ actions: inout [Action]) {
        actions += deaths.flush().map(Action.report)
        abandonCommands(now, &actions)
        for index in slots.indices { slots[index].abandonBackOff() }
    }

    private mutating func closeIntake(_ actions: inout [Action]) {
        switch intake {
        case .paused, .accepting:
            intake = .closing
            actions.append(.closeListeners)
        case .closing, .closed:
            break
        }
    }

    /// The next stage of a stop, when its time has come or the last one is over; in the end, the exit.
    mutating func advanceStop(_ now: MonotonicTime, _ actions: inout [Action]) {
        guard case .stopping(var plan) = phase else { return }
        let hasTakers = slots.contains { $0.role == .member && ($0.isStarting || $0.state == .ready) }
        if case .delaying(let until) = plan.stage, until <= now || !hasTakers {
            plan.handOut(now: now)
            phase = .stopping(plan)
            closeIntake(&actions)
        }
        if case .handingOut(let until) = plan.stage {
            if !hasTakers { close(pending.removeAll(), .noWorkerAtStop, &actions) }
            let isAllHandedOut =
                intake == .closed && pending.isEmpty && slots.allSatisfy { $0.inflight.isEmpty }
            if isAllHandedOut || until <= now {
                plan.stage = .draining
                phase = .stopping(plan)
                drain(plan, now, &actions)
            }
        }
        let isOver = intake == .closed && pending.isEmpty && !slots.contains(where: \.isLiving)
        if isOver || plan.exitAt <= now { exit(plan, &actions) }
    }

    private mutating func drain(_ plan: StopPlan, _ now: MonotonicTime, _ actions: inout [Action]) {
        close(pending.removeAll(), .noWorkerAtStop, &actions)
        for index in slots.indices {
            switch slots[index].state {
            case .ready, .draining:
                // One that drains was told of successors: they take nothing any more, and it may have less time now.
                drainAtStop(index, plan, now, &actions)
            case .starting:
                // It has no connections, and may take long to see a packet.
                dismiss(index, killAt: min(now + StopPlan.leaveTimeout, plan.killAt), &actions)
            case .vacant, .backingOff, .dying:
                break
            }
        }
    }

    private mutating func drainAtStop(
        _ index: Int, _ plan: StopPlan, _ now: MonotonicTime, _ actions: inout [Action]
    ) {
        slots[index].drain(killAt: plan.killAt)
        let milliseconds = UInt32(clamping: (plan.cutAt - now).wholeNanoseconds / 1_000_000)
        actions.append(.drain(slots[index].worker, milliseconds: milliseconds, migrationsPerSecond: 0))
    }

    private mutating func exit(_ plan: StopPlan, _ actions: inout [Action]) {
        for index in slots.indices {
            kill(index, &actions)
            var reason = CloseReason.notAdoptedAtStop
            if case .fast = plan.stage { reason = .stoppedFast }
            close(slots[index].disown(), reason, &actions)
        }
        assert(pending.isEmpty)
        phase = .exited
        actions.append(.report(.stopped(counters)))
        actions.append(.exit(plan.exitCode))
    }
}
