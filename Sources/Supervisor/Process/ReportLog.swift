import Handoff
import Logging
import Transport

/// Puts the state machine's reports into words.
struct ReportLog {
    let logger: Logger
    let transport: TransportKind

    /// `ending`: in words, how the worker ended that the report is about; nil where that is not known.
    func log(_ report: SupervisorState.Report, workerCount: Int, ending: String? = nil) {
        switch report {
        case .workerReady(let worker):
            logger.debug("worker ready", metadata: metadata(worker))
        case .allReady:
            logger.info(
                "ready", metadata: ["transport": "\(transport.rawValue)", "workers": .stringConvertible(workerCount)])
        case .workerFailed(let worker, let code, let message):
            logger.error(
                "worker failed: \(message)", metadata: metadata(worker, ["code": .stringConvertible(code.rawValue)]))
        case .bootTimedOut(let worker):
            logger.error("worker not ready in time: killed", metadata: metadata(worker))
        case .pageCorrupt(let worker):
            logger.error("worker killed: its status page makes no sense", metadata: metadata(worker))
        case .rejected(let worker, let count):
            logger.warning(
                "worker had no descriptors left: connections go to others (raise its RLIMIT_NOFILE)",
                metadata: metadata(worker, ["count": .stringConvertible(count)]))
        case .workerDied(let worker, let status, let redelivered, let lost):
            logger.error(
                "worker died",
                metadata: metadata(
                    worker,
                    [
                        "status": "\(ending ?? "\(status)")", "redelivered": .stringConvertible(redelivered),
                        "lost": .stringConvertible(lost),
                    ]))
        case .deathsCollapsed(let status, let count):
            logger.error(
                "more workers died the same way", metadata: ["status": "\(status)", "count": .stringConvertible(count)])
        case .restartScheduled(let slot, let delay):
            logger.info("worker restarts", metadata: ["worker": .stringConvertible(slot), "delay": "\(delay)"])
        case .slotRetired(let slot):
            logger.error(
                "worker will not be started again: it rejects its options",
                metadata: ["worker": .stringConvertible(slot)])
        case .degraded:
            logger.error("degraded: workers die too often, restarting one at a time")
        case .recovered:
            logger.info(
                "recovered: all workers are ready again", metadata: ["workers": .stringConvertible(workerCount)])
        case .workerDrained(let worker, let forced):
            logger.debug("worker drained", metadata: metadata(worker, ["forced": .stringConvertible(forced)]))
        case .workerStopped(let worker, let status):
            logger.debug("worker stopped", metadata: metadata(worker, ["status": "\(status)"]))
        case .stalled(let worker):
            logger.warning("worker does not turn: it gets no connections until it does", metadata: metadata(worker))
        case .resumed(let worker):
            logger.info("worker turns again", metadata: metadata(worker))
        case .hung(let worker):
            logger.error("worker hangs: its backtrace follows, then it is killed", metadata: metadata(worker))
        case .replacementStarted(let generation, let reason):
            logger.info(
                "\(reason.rawValue): starting new workers", metadata: ["generation": .stringConvertible(generation)])
        case .replaced(let generation):
            logger.info(
                "new workers serve",
                metadata: ["generation": .stringConvertible(generation), "workers": .stringConvertible(workerCount)])
        case .rolledBack(let generation, let reason):
            logger.error(
                "rolled back: the workers before go on",
                metadata: ["generation": .stringConvertible(generation), "reason": "\(reason)"])
        case .retired(let worker):
            logger.info("worker drains: others go on with its connections", metadata: metadata(worker))
        case .scaled(let from, let to):
            logger.info("scaled", metadata: ["from": .stringConvertible(from), "to": .stringConvertible(to)])
        case .recycled(let worker, let successor, let reason):
            logger.info(
                "worker recycled",
                metadata: metadata(worker, ["by": .stringConvertible(successor.slot), "reason": "\(reason.rawValue)"]))
        case .recycledInVain(let worker):
            logger.warning(
                "worker is soon as large as the one that it replaced: is the limit of --recycle-memory too low?",
                metadata: metadata(worker, ["kept": "\(RecyclePolicy.memoryLifetimeMin)"]))
        case .offersRefused(let worker):
            logger.info(
                "nobody can have some of a draining worker's connections yet: it goes on serving them",
                metadata: metadata(worker))
        case .full(.connectionsMax, let connections):
            logger.warning(
                "full: new clients wait until others leave (raise --max-connections, and RLIMIT_NOFILE where that asks for it)",
                metadata: [
                    "connections": .stringConvertible(connections), "limit": "\(FullLimit.connectionsMax.rawValue)",
                ])
        case .full(.openFiles, let connections):
            logger.warning(
                "full: new clients wait until others leave (raise RLIMIT_NOFILE, or --workers)",
                metadata: ["connections": .stringConvertible(connections), "limit": "\(FullLimit.openFiles.rawValue)"])
        case .roomAgain:
            logger.notice("no longer full", metadata: ["room-for": "\(Fullness.easingTime)"])
        case .stopped(let counters):
            logger.info("stopped", metadata: counters.metadata)
        }
    }

    /// Says at the end what the listeners could not take at once; silent when there was nothing.
    func logIntake(exhausted: UInt64, failed: UInt64) {
        guard exhausted > 0 || failed > 0 else { return }
        logger.warning(
            "accepting was held up",
            metadata: [
                "out-of-descriptors-or-memory": .stringConvertible(exhausted),
                "aborted-by-peer": .stringConvertible(failed),
            ])
    }

    /// Says at the end what the workers met that cost time or connections; silent when there was nothing.
    func logCounters(_ pages: [SupervisorPage]) {
        let notable: [(Counter, String)] = [
            (.rejected, "no-descriptor-left"), (.upstreamConnectFailures, "upstream-connect-failures"),
            (.receiveBuffersExhausted, "receive-buffers-exhausted"),
            (.completionOverflow, "completion-queue-overflows"), (.staleCompletions, "stale-completions"),
        ]
        var sums: Logger.Metadata = [:]
        for (counter, name) in notable {
            let sum = pages.reduce(0) { $0 &+ $1.count(counter) }
            if sum > 0 { sums[name] = .stringConvertible(sum) }
        }
        if !sums.isEmpty { logger.info("what the workers met", metadata: sums) }
    }

    private func metadata(_ worker: WorkerID, _ more: Logger.Metadata = [:]) -> Logger.Metadata {
        let own: Logger.Metadata = [
            "worker": .stringConvertible(worker.slot), "incarnation": .stringConvertible(worker.incarnation),
        ]
        return more.merging(own) { first, _ in first }
    }
}

extension SupervisorCounters {
    /// What happened, and what was lost if anything was.
    fileprivate var metadata: Logger.Metadata {
        var metadata: Logger.Metadata = [
            "accepted": .stringConvertible(accepted), "adopted": .stringConvertible(adopted),
            "redelivered": .stringConvertible(redelivered),
            "restarts": .stringConvertible(restarts), "forced-closes": .stringConvertible(forcedCloses),
            "not-served": .stringConvertible(closed),
        ]
        for reason in SupervisorState.CloseReason.allCases where self[reason] > 0 {
            metadata["not-served.\(reason)"] = .stringConvertible(self[reason])
        }
        return metadata
    }
}

extension ExitStatus: CustomStringConvertible {
    /// `exit code 1`, `signal 6 (core dumped)`.
    public var description: String {
        switch self {
        case .code(let code): "exit code \(code)"
        case .signal(let number, let coreDumped): "signal \(number)\(coreDumped ? " (core dumped)" : "")"
        }
    }
}
