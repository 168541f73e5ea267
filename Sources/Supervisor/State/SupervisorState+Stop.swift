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
            phase = .stopping(.graceful(now: now, grace: configuration.grace))
            closeIntake(&actions)
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
        phase = .stopping(plan)
        closeIntake(&actions)
        close(pending.removeAll(), .stoppedFast, &actions)
        for index in slots.indices where slots[index].isLiving { dismiss(index, killAt: plan.killAt, &actions) }
    }

    private mutating func closeIntake(_ actions: inout [Action]) {
        actions += deaths.flush().map(Action.report)
        for index in slots.indices { slots[index].abandonBackOff() }
        switch intake {
        case .paused, .accepting:
            intake = .closing
            actions.append(.closeListeners)
        case .closing, .closed:
            break
        }
    }

    private mutating func dismiss(_ index: Int, killAt: MonotonicTime, _ actions: inout [Action]) {
        if slots[index].state != .dying(killAt: nil) { actions.append(.stopFast(slots[index].worker)) }
        slots[index].leave(killAt: killAt)
    }

    /// The next stage of a stop, when its time has come or the last one is over; in the end, the exit.
    mutating func advanceStop(_ now: MonotonicTime, _ actions: inout [Action]) {
        guard case .stopping(var plan) = phase else { return }
        if case .handingOut(let until) = plan.stage {
            if !slots.contains(where: { $0.isStarting || $0.state == .ready }) {
                close(pending.removeAll(), .noWorkerAtStop, &actions)
            }
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
        let milliseconds = UInt32(clamping: (plan.cutAt - now).wholeNanoseconds / 1_000_000)
        for index in slots.indices {
            switch slots[index].state {
            case .ready:
                slots[index].drain(killAt: plan.killAt)
                actions.append(.drain(slots[index].worker, milliseconds: milliseconds, migrationsPerSecond: 0))
            case .starting:
                // It has no connections, and may take long to see a packet.
                dismiss(index, killAt: min(now + StopPlan.leaveTimeout, plan.killAt), &actions)
            case .vacant, .backingOff, .draining, .dying:
                break
            }
        }
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
