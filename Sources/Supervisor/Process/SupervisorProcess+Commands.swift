import Glibc
import Handoff
import Logging
import Transport

/// What operators ask for, by the control socket or by signals, and what becomes of it.
extension SupervisorProcess {
    /// A configuration on its way to serve.
    struct Preparation {
        var generation: Generation
        var reason: ReplacementReason
        var plan: SupervisorPlan
        /// Its listeners' ids in its order.
        var listeners: [UInt16]
    }

    /// A request at the control socket.
    func asked(_ request: ControlRequest, _ command: CommandID) {
        switch request {
        case .status:
            control?.answer(command, ControlReply(ok: true, message: "", status: report()))
        case .reload: reload(command)
        case .upgrade: upgrade(command)
        case .scale(let count): feedAfterPages(.command(command, .scale(.to(count))))
        case .drain(let slot): feedAfterPages(.command(command, .drain(slot: slot)))
        case .stop(let isFast):
            control?.answer(
                command,
                ControlReply(ok: true, message: isFast ? "stopping at once" : "stopping within \(grace)"))
            logger.info("stopping: asked to at the control socket", metadata: ["fast": "\(isFast)"])
            feed(.stop(isFast ? .fast : .graceful))
        }
    }

    private var grace: String { "\(state.configuration.grace)" }

    func finished(_ command: CommandID?, _ outcome: CommandOutcome) {
        if returnsToFormer(command, outcome) { return }
        switch outcome {
        case .done: break
        case .refused(let reason) where command == nil:
            logger.warning("not done", metadata: ["reason": "\(reason)"])
        case .failed(let reason) where command == nil:
            logger.error("failed", metadata: ["reason": "\(reason)"])
        case .refused, .failed: break
        }
        answer(command, outcome)
        nextReload()
    }

    func answer(_ command: CommandID?, _ outcome: CommandOutcome) {
        guard let command else { return }
        switch outcome {
        case .done(let text): control?.answer(command, ControlReply(ok: true, message: text))
        case .refused(let text), .failed(let text): control?.answer(command, ControlReply(ok: false, message: text))
        }
    }

    /// A reload or an upgrade is not begun; `status` tells of it, too.
    func refuseReplacement(_ command: CommandID?, _ reason: String) {
        feed(.replacementRefused(reason))
        answer(command, .refused(reason))
    }

    // MARK: Reload

    /// Reads the configuration again, on a thread of its own since names may have to be looked up; then replaces all
    /// workers. A reload that comes meanwhile is done afterwards, once for all that wait.
    func reload(_ command: CommandID?) {
        if let reason = state.noCommands {
            logger.warning("reload refused", metadata: ["reason": "\(reason)"])
            return refuseReplacement(command, reason)
        }
        guard !isReplacing else {
            logger.info("reload: it waits for what is under way")
            // One is enough: it reads what each of them meant, or something newer.
            if let earlier = reloadWaiting { answer(earlier.command, .refused("a newer reload took its place")) }
            reloadWaiting = UpgradeImage.Reload(command: command)
            return
        }
        isReading = true
        logger.info("reload: reading the configuration")
        let inForce = configurations[state.generation]?.text ?? []
        let source = setup.reload
        let remote = loop.remote
        // Sendable: the supervisor inside is touched on its loop's thread only, which outlives the thread's answer or
        // drops it.
        let supervisor = UncheckedBox(self)
        do throws(SystemError) {
            try BackgroundThread.run {
                let result = source(inForce)
                remote.execute { _ in supervisor.value.read(result, command) }
            }
        } catch {
            read(.failure(PlanError(.internalError, "\(error)")), command)
        }
    }

    /// A reload or an upgrade is under way. Whatever ends it begins the next reload.
    private var isReplacing: Bool {
        preparation != nil || isReading || check != nil || isGivingUp || arrival != nil
    }

    private func read(_ result: Result<SupervisorPlan, PlanError>, _ command: CommandID?) {
        isReading = false
        switch result {
        case .success(let plan):
            replaceAll(.reload, plan, command)
        case .failure(let error):
            logger.error("reload refused", metadata: ["reason": "\(error.sentence)"])
            refuseReplacement(command, error.sentence)
            nextReload()
        }
    }

    func nextReload() {
        guard !isReplacing, let waiting = reloadWaiting else { return }
        reloadWaiting = nil
        reload(waiting.command)
    }

    /// Has a new generation take over.
    func replaceAll(_ reason: ReplacementReason, _ plan: SupervisorPlan, _ command: CommandID?) {
        // It may have been told to stop while the configuration was read.
        if let obstacle = state.noCommands {
            feed(.replacementRefused(obstacle))
            return finished(command, .refused(obstacle))
        }
        let ids: [UInt16]
        do throws(PlanError) {
            ids = try listeners.prepare(plan.listeners)
        } catch {
            logger.error("\(reason.rawValue) refused", metadata: ["reason": "\(error.sentence)"])
            feed(.replacementRefused(error.sentence))
            return finished(command, .refused(error.sentence))
        }
        let generation = state.generationNext
        preparation = Preparation(generation: generation, reason: reason, plan: plan, listeners: ids)
        configurations[generation] = GenerationConfiguration(plan, listeners: ids)
        feedAfterPages(
            .command(
                command,
                .replaceAll(
                    reason: reason, plan.configuration, listeners: Set(ids),
                    changed: listeners.changed(ids, plan.listeners))))
    }

    func commit(_ generation: Generation) {
        guard let preparation, preparation.generation == generation else {
            preconditionFailure("a generation is prepared before it serves")
        }
        let before = Set(listeners.serving.map(\.id))
        listeners.commit(preparation.listeners, preparation.plan.listeners)
        logListeners(preparation.listeners.filter { !before.contains($0) })
        self.preparation = nil
        if preparation.reason == .upgrade { forgetFormer() }
    }

    func rollBack(_ generation: Generation, _ reason: String) {
        guard preparation?.generation == generation else { return }
        preparation = nil
        listeners.rollBack()
    }

    // MARK: Status

    private func report() -> StatusReport {
        // As fresh as it can be had.
        feedAfterPages(.timer)
        return StatusReport(
            name: setup.name, version: setup.version, pid: getpid(), startedAt: startedAt,
            transport: setup.loopKind.transport.rawValue, pool: state.status(now: .now),
            processes: handles.compactMap { handle in
                handle.map {
                    WorkerProcessStatus(slot: $0.worker.slot, pid: $0.pid, counters: counters(of: $0.worker.slot))
                }
            },
            counters: Dictionary(
                uniqueKeysWithValues: Counter.allCases.map { counter in
                    ("\(counter)", pages.reduce(0) { $0 &+ $1.count(counter) })
                }),
            lastWords: lastWords.values.sorted { $0.slot < $1.slot },
            listeners: listeners.serving.map { entry in
                let address = Socket.localAddress(of: entry.descriptor).map(String.init(describing:))
                return (entry.id, address ?? "\(entry.plan.address)", entry.descriptor)
            })
    }

    private func counters(of slot: Int) -> [String: UInt64] {
        Dictionary(uniqueKeysWithValues: Counter.allCases.map { ("\($0)", pages[slot].count($0)) })
    }
}

/// Carries a value that is touched on one thread only through the hands of another.
// Sendable: whoever makes one says where it is opened.
private struct UncheckedBox<Value>: @unchecked Sendable {
    let value: Value

    init(_ value: Value) {
        self.value = value
    }
}
