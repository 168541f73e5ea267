import Handoff
import Transport

/// Workers: started, ready, dead, started again.
extension SupervisorState {
    mutating func start(_ now: MonotonicTime, _ actions: inout [Action]) {
        guard case .idle = phase else { return }
        phase = .running
        for seat in 0..<wanted { _ = enlist(.member, seat: seat, generation: generation, now, &actions) }
    }

    mutating func ready(_ worker: WorkerID, _ now: MonotonicTime, _ actions: inout [Action]) {
        guard let index = slot(of: worker), slots[index].becomeReady(now: now, random: &random) else { return }
        actions.append(.report(.workerReady(worker)))
        if readiness == .noneYet { readiness = .someWere }
        if succession?.new == index { completeSuccession(now, &actions) }
        reportFirstCompletion(&actions)
    }

    /// Says once that every worker is ready.
    mutating func reportFirstCompletion(_ actions: inout [Action]) {
        guard readiness == .someWere, members.allSatisfy({ $0.state == .ready }) else { return }
        readiness = .allWere
        actions.append(.report(.allReady))
    }

    mutating func failed(
        _ worker: WorkerID, _ code: ExitCode, _ message: String, _ now: MonotonicTime, _ actions: inout [Action]
    ) {
        guard let index = slot(of: worker) else { return }
        slots[index].fail(code)
        slots[index].leave(killAt: now + StopPlan.leaveTimeout)
        actions.append(.report(.workerFailed(worker, code, message: message)))
    }

    mutating func drained(_ worker: WorkerID, _ forced: UInt32, _ now: MonotonicTime, _ actions: inout [Action]) {
        guard let index = slot(of: worker) else { return }
        slots[index].leave(killAt: now + StopPlan.leaveTimeout)
        counters.forcedCloses += UInt64(forced)
        actions.append(.report(.workerDrained(worker, forced: forced)))
    }

    /// The process is reaped; its page, read afterwards, says for certain what it had adopted.
    mutating func exited(
        _ worker: WorkerID, _ status: ExitStatus, _ reading: PageReading?, _ now: MonotonicTime,
        _ actions: inout [Action]
    ) {
        guard let index = slot(of: worker) else { return }
        var rejected: [HeldSocket] = []
        if let reading, let settled = slots[index].absorb(reading) {
            release(settled.adopted, &actions)
            rejected = settled.rejected
        } else {
            close(slots[index].disown(), .adoptionUnknown, &actions)
        }
        let role = slots[index].role
        let obituary = slots[index].bury(status, now: now)
        counters.lost += UInt64(obituary.lost)
        let unadopted = rejected + obituary.unadopted
        redeliver(unadopted, &actions)
        guard case .running = phase, role != .retired || status != .code(0) else {
            actions.append(.report(.workerStopped(worker, status)))
            return
        }
        let reports = deaths.record(worker, status, redelivered: unadopted.count, lost: obituary.lost)
        actions += reports.map(Action.report)
        mourn(index, role, obituary, now, &actions)
    }

    /// What follows from a death, according to the part that the worker played.
    private mutating func mourn(
        _ index: Int, _ role: WorkerRole, _ obituary: WorkerSlot.Obituary, _ now: MonotonicTime,
        _ actions: inout [Action]
    ) {
        switch role {
        case .free, .retired: break
        case .member where succession?.old == index: completeSuccession(now, &actions)
        case .member: replace(index, obituary, now, &actions)
        case .candidate where succession?.new == index:
            failSuccession("the successor died before it was ready", now, &actions)
        case .candidate:
            if candidateDied(obituary, now, &actions) { replace(index, obituary, now, &actions) }
        }
    }

    /// Plans the next worker of a slot, unless there should be none.
    private mutating func replace(
        _ index: Int, _ obituary: WorkerSlot.Obituary, _ now: MonotonicTime, _ actions: inout [Action]
    ) {
        let isHopeless = obituary.code == .badUsage
        if readiness == .noneYet, isHopeless || slots[index].failedBoots >= configuration.restart.failFastAttempts {
            return stopFast(exitCode: Self.startFailure(obituary.code), now, &actions)
        }
        if isHopeless { return actions.append(.report(.slotRetired(index))) }
        let delay = slots[index].backOff(
            configuration.restart, readyFor: obituary.readyFor, now: now, random: &random)
        if delay > .zero { actions.append(.report(.restartScheduled(slot: index, delay: delay))) }
    }

    /// No worker is there, and no restart would mend that.
    mutating func stopIfHopeless(_ now: MonotonicTime, _ actions: inout [Action]) {
        guard case .running = phase, replacement == nil, members.allSatisfy({ $0.state == .vacant }) else { return }
        stopFast(exitCode: .badUsage, now, &actions)
    }

    /// The supervisor's exit code when no worker ever became ready and this was one's last word.
    private static func startFailure(_ code: ExitCode?) -> ExitCode {
        switch code {
        case .badUsage, .serviceFailed, .ringUnavailable, .limitTooLow: code ?? .workersNeverReady
        default: .workersNeverReady
        }
    }

    /// Starts the workers whose time has come, as far as the pool's intensity admits.
    mutating func restartDue(_ now: MonotonicTime, _ actions: inout [Action]) {
        guard case .running = phase else { return }
        while let (until, index) = firstBackOff, until <= now {
            let mode = intensity.mode
            let isAdmitted = intensity.admit(now: now, booting: booting, serving: serving)
            if intensity.mode != mode { actions.append(.report(.degraded)) }
            guard isAdmitted else { return }
            counters.restarts += 1
            spawn(index, now, &actions)
        }
        if intensity.mode == .degraded, isComplete {
            intensity.recover()
            actions.append(.report(.recovered))
        }
    }

    /// When the next worker may start; distant if that depends on another one's boot.
    var nextRestart: MonotonicTime {
        guard case .running = phase, let (until, _) = firstBackOff else { return .distantFuture }
        if intensity.mode == .degraded, booting > 0 { return .distantFuture }
        return serving > 0 ? max(until, intensity.earliest) : until
    }

    private var serving: Int { slots.count { $0.role == .member && $0.state == .ready } }

    private var booting: Int { slots.count(where: \.isStarting) }

    private var firstBackOff: (until: MonotonicTime, index: Int)? {
        var first: (until: MonotonicTime, index: Int)?
        for slot in slots {
            guard case .backingOff(let until) = slot.state else { continue }
            if first.map({ until < $0.until }) ?? true { first = (until, slot.index) }
        }
        return first
    }
}
