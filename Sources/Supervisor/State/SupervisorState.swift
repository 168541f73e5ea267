import Handoff
import Transport

/// The supervisor's decisions: restarts, hand-off, balance, redelivery, replacement, migration, stop.
///
/// A value without clock, descriptor or system call. The shell feeds what happened, performs the actions that come back
/// in their order, and arms one timer for ``nextDeadline``. Each accepted socket is at any time in exactly one place:
/// pending here, in flight to one worker, or gone (adopted and released, or closed with a reason).
public struct SupervisorState: Sendable, Codable {
    enum Phase: Sendable, Codable {
        case idle
        case running
        case stopping(StopPlan)
        case exited
    }

    enum Intake: Sendable, Codable {
        case paused
        case accepting
        /// The listeners are to be closed; sockets may still come.
        case closing
        case closed
    }

    enum Readiness: Sendable, Codable {
        case noneYet
        case someWere
        case allWere
    }

    /// The configuration of the generation that serves.
    public internal(set) var configuration: SupervisorConfiguration
    /// The listeners of the generation that serves.
    public internal(set) var listeners: Set<UInt16>
    /// The generation that serves.
    public internal(set) var generation: Generation = 0
    /// The generation that the next ``Command/replaceAll(reason:_:listeners:changed:)`` takes.
    public internal(set) var generationNext: Generation = 1
    /// Since which generation a listener has its kind of service, for those where it has changed.
    var servedSince: [UInt16: Generation] = [:]
    /// Workers there should be: as configured, or as scaled since.
    public internal(set) var wanted: Int
    /// What it did so far.
    public internal(set) var counters = SupervisorCounters()

    var phase = Phase.idle
    var intake = Intake.paused
    var readiness = Readiness.noneYet
    /// Grows as workers are needed beside others; the parts are given out anew.
    var slots: [WorkerSlot] = []
    var pending = PendingSockets()
    var balancer: Balancer
    var intensity: RestartIntensity
    var deaths = DeathLog()
    var watch = PageWatch()
    var random: SplitMix64
    var replacement: Replacement?
    var lastReplacement: CommandOutcome?
    var succession: Succession?
    /// No worker is recycled before.
    var recycleAfter = MonotonicTime(nanoseconds: 0)
    var scaleWaits: [ScaleWait] = []
    /// Until when nothing is sent to anybody (ETOOMANYREFS).
    var holdOffUntil: MonotonicTime?
    /// Until when a single free place is no reason to accept again: nil unless all were taken at the last pause.
    var fullUntil: MonotonicTime?
    /// What was told of a want of room; nil while there is room.
    var fullness: Fullness?
    /// The next accepted socket's place in the order of acceptance.
    var orderNext: UInt64 = 0
    private var latest = MonotonicTime(nanoseconds: 0)

    /// A supervisor that waits for ``Event/start``. Its first generation, 0, serves these listeners.
    public init(configuration: SupervisorConfiguration, listeners: Set<UInt16>) {
        self.configuration = configuration
        self.listeners = listeners
        wanted = configuration.workerCount
        balancer = Balancer(mode: configuration.balance, inflightMax: configuration.inflightPerWorkerMax)
        intensity = RestartIntensity(configuration.restart, workerCount: configuration.workerCount)
        random = SplitMix64(seed: configuration.seed)
    }

    /// What to do about an event. A time before the last event's counts as that one's.
    public mutating func handle(_ event: Event, now time: MonotonicTime) -> [Action] {
        let now = max(time, latest)
        latest = now
        var actions: [Action] = []
        if case .exited = phase {
            switch event {
            case .accepted(let sockets): take(sockets, &actions)
            case .command(let id, let command): obey(id, command, now, &actions)
            case .offered(let worker, let number, let socket, let isLastCopy):
                offered(worker, number, socket, isLastCopy: isLastCopy, now, &actions)
            default: break
            }
            return actions
        }
        apply(event, now, &actions)
        switch event {
        case .page, .sendRefused: break
        case .accepted, .timer: settle(now, hasLooked: true, &actions)
        default: settle(now, hasLooked: false, &actions)
        }
        return actions
    }

    /// When to feed ``Event/timer``, if nothing else happens before; nil for never. After a ``Event/timer``, it is later.
    public var nextDeadline: MonotonicTime? {
        if case .exited = phase { return nil }
        var deadline = min(holdOffUntil ?? .distantFuture, watch.at ?? .distantFuture)
        for slot in slots { deadline = min(deadline, slot.nextDeadline) }
        if case .stopping(let plan) = phase { deadline = min(deadline, plan.nextDeadline) }
        if case .running = phase {
            deadline = min(deadline, nextRestart, replacement?.nextDeadline ?? .distantFuture)
            deadline = min(deadline, scaleWaits.first?.until ?? .distantFuture)
        }
        return deadline == .distantFuture ? nil : deadline
    }

    private mutating func apply(_ event: Event, _ now: MonotonicTime, _ actions: inout [Action]) {
        switch event {
        case .start: start(now, &actions)
        case .accepted(let sockets): take(sockets, &actions)
        case .page(let slot, let reading): read(slot, reading, now, &actions)
        case .pageCorrupt(let slot): condemn(slot, &actions)
        case .hello, .timer: break
        case .thawed: thawed(now)
        case .command(let id, let command): obey(id, command, now, &actions)
        case .replacementRefused(let reason): lastReplacement = .refused(reason)
        case .offered(let worker, let number, let socket, let isLastCopy):
            offered(worker, number, socket, isLastCopy: isLastCopy, now, &actions)
        case .versionAgreed(let worker, let migrates):
            if let index = slot(of: worker) { slots[index].migrates = migrates }
        case .memory(let worker, let bytes): if let index = slot(of: worker) { slots[index].memory = bytes }
        case .listenersRetired: listenersRetired(now)
        case .ready(let worker): ready(worker, now, &actions)
        case .drained(let worker, let forced): drained(worker, forced, now, &actions)
        case .failed(let worker, let code, let message): failed(worker, code, message, now, &actions)
        case .sendRefused(let worker, let first, let refusal): refused(worker, first, refusal, now, &actions)
        case .exited(let worker, let status, let reading): exited(worker, status, reading, now, &actions)
        case .stop(let kind): stop(kind, now, &actions)
        case .listenersClosed:
            assert(intake == .closing, "the listeners were closed unasked")
            intake = .closed
        }
    }

    /// Everything that follows from the passing of time and from the state as it is. Each step may enable the next.
    private mutating func settle(_ now: MonotonicTime, hasLooked: Bool, _ actions: inout [Action]) {
        expire(now, &actions)
        endHung(now, &actions)
        advanceReplacement(now, &actions)
        stopIfHopeless(now, &actions)
        restartDue(now, &actions)
        answerScaling(now, &actions)
        recycle(now, &actions)
        dispatch(now, &actions)
        advanceStop(now, &actions)
        regulateIntake(now, &actions)
        tellFullness(now, &actions)
        watch.rearm(now: now, need: pageNeed, hasLooked: hasLooked)
    }

    private mutating func expire(_ now: MonotonicTime, _ actions: inout [Action]) {
        if let until = holdOffUntil, until <= now { holdOffUntil = nil }
        for index in slots.indices {
            slots[index].endHoldOff(now: now)
            guard slots[index].nextDeadline <= now else { continue }
            if slots[index].isStarting { actions.append(.report(.bootTimedOut(slots[index].worker))) }
            kill(index, &actions)
        }
    }

    /// The slot that this worker is still the process of.
    func slot(of worker: WorkerID) -> Int? {
        guard slots.indices.contains(worker.slot) else { return nil }
        return slots[worker.slot].isLiving && slots[worker.slot].worker == worker ? worker.slot : nil
    }

    mutating func kill(_ index: Int, _ actions: inout [Action]) {
        if slots[index].kill() { actions.append(.kill(slots[index].worker)) }
    }

    mutating func close(_ sockets: [HeldSocket], _ reason: CloseReason, _ actions: inout [Action]) {
        for held in sockets { actions.append(.close(held.socket.id, reason)) }
        counters[reason] += UInt64(sockets.count)
    }
}
