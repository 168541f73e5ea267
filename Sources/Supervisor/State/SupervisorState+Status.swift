import Transport

extension SupervisorState {
    /// What an operator may see.
    public func status(now: MonotonicTime) -> PoolStatus {
        PoolStatus(
            phase: phaseName, generation: generation, wanted: wanted, degraded: intensity.mode == .degraded,
            full: fullLimit, workers: slots.filter { $0.role != .free }.map { $0.status(now: now) },
            pending: pending.count, counters: counters.byName, lastReplacement: lastReplacement)
    }

    private var phaseName: String {
        switch phase {
        case .idle: "starting"
        case .running: readiness == .noneYet ? "starting" : "running"
        case .stopping: "draining"
        case .exited: "exited"
        }
    }
}

extension WorkerSlot {
    fileprivate func status(now: MonotonicTime) -> PoolStatus.Worker {
        PoolStatus.Worker(
            slot: index, incarnation: worker.incarnation, generation: generation, state: stateName, live: Int(live),
            inflight: inflight.count, sinceSeconds: Double((now - spawnedAt).wholeNanoseconds) / 1e9,
            restarts: restarts)
    }

    private var stateName: String {
        switch state {
        case .vacant: "abandoned"
        case .backingOff: "backoff"
        case .starting: "starting"
        case .ready: pulse.isStalled ? "stalled" : role == .candidate ? "standby" : "ready"
        case .draining: "draining"
        case .dying: "leaving"
        }
    }
}
