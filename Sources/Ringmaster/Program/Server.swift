import Glibc
import Handoff
import Logging
import Supervisor
import Transport
import Worker

/// Runs a plan: as the supervisor, or, when a supervisor has spawned this process, as a worker.
struct Server<Program: RingmasterProgram> {
    private let source: PlanSource

    init(_ source: @escaping PlanSource) {
        self.source = source
    }

    func run() throws -> ExitCode {
        if let value = Process.environment(WorkerBirth.variable) { return try work(value) }
        if Process.environment(ProgramCheck.variable) != nil { return try check() }
        if let value = Process.environment(UpgradeImage.variable) { return try resume(value) }
        return try supervise(source(nil))
    }

    /// What a supervisor calls to reload.
    var reloadSource: ReloadSource {
        { [source] inForce in
            do throws(CommandError) {
                let plan = try source(nil)
                try Self.checkChange(from: inForce, to: plan, source)
                return .success(try plan.prepared())
            } catch {
                return .failure(PlanError(error.code, error.message))
            }
        }
    }

    /// Nothing is compared when there is no text, and so nothing that could have changed, or when the text is of an older
    /// version, which had an option that is unknown now.
    private static func checkChange(
        from inForce: [UInt8], to plan: Plan, _ source: PlanSource
    ) throws(CommandError) {
        guard !inForce.isEmpty, let old = try? source(inForce), let obstacle = plan.reloadObstacle(from: old) else {
            return
        }
        throw CommandError(.badUsage, "\(obstacle): restart \(Program.name) for that")
    }

    private func logger(_ label: String, _ options: CommonOptions, to descriptor: Int32 = STDERR_FILENO) -> Logger {
        var handler = LineLogHandler(
            label: label, format: options.logFormat, level: options.logLevel.level, descriptor: descriptor)
        handler.logLevel = options.logLevel.level
        return Logger(label: label) { _ in handler }
    }

    // MARK: The supervisor

    private func supervise(_ plan: Plan) throws -> ExitCode {
        let prepared = try plan.prepared()
        let decision = try LoopDecision.make(plan.options.transport, workers: prepared.configuration.workerCount)
        let setup = setup(prepared, plan.options, decision.kind, programPath: Process.programPath)
        let supervisor: SupervisorProcess
        do {
            supervisor = try SupervisorProcess(setup)
        } catch let error as PlanError {
            throw plan.located(CommandError(error.exitCode, error.sentence))
        } catch {
            throw CommandError(Self.exitCode(of: error), "the supervisor cannot start: \(error)")
        }
        // Behind what may fail: a command that is refused says why, and nothing else.
        if let cause = decision.cause {
            let level: Logger.Level = plan.options.transport == .epoll ? .debug : .notice
            setup.logger.log(level: level, "serving with epoll", metadata: ["cause": "\(cause)"])
        }
        if decision.kind == .smallRing {
            setup.logger.notice("locked memory is short (RLIMIT_MEMLOCK): every ring is of the smallest size")
        }
        setup.logger.debug(
            "workers chosen",
            metadata: [
                "workers": .stringConvertible(prepared.configuration.workerCount), "budget": "\(CPUBudget.read())",
                "max-connections": .stringConvertible(prepared.configuration.connectionsMax),
            ])
        return supervisor.run()
    }

    private func setup(
        _ prepared: SupervisorPlan, _ options: CommonOptions, _ loopKind: LoopKind, programPath: String
    ) -> SupervisorSetup {
        SupervisorSetup(
            plan: prepared, loopKind: loopKind,
            launcher: WorkerLauncher(
                arguments: CommandLine.arguments, environment: Process.environment.map { "\($0.name)=\($0.value)" }),
            logger: logger("supervisor", options), reload: reloadSource, controlPath: options.control,
            programPath: programPath, name: Program.name, version: Program.version)
    }

    private static func exitCode(of error: any Error) -> ExitCode {
        let code: Int32? = (error as? SystemError)?.code ?? (error as? HandoffError)?.errno
        if let code, [EMFILE, ENFILE, ENOMEM].contains(code) { return .limitTooLow }
        return (error as? SystemError).map(UringAvailability.exitCode) ?? .internalError
    }

    // MARK: An upgrade

    /// Whether this program could go on where a running supervisor is, which starts it to find out: on the way there, and on
    /// the way back.
    private func check() throws -> ExitCode {
        let image: UpgradeImage
        do throws(PlanError) {
            image = try UpgradeImage.read(ProgramCheck.imageDescriptor)
        } catch {
            throw CommandError(error.exitCode, error.sentence)
        }
        let plan = try plan(of: image)
        if !image.isReturn {
            _ = try plan.prepared()
            // As a reload would: an upgrade changes no more than that.
            try Self.checkChange(from: image.planInForce.text, to: plan, source)
        }
        let consent = Array(ProgramCheck.consent(of: Program.name).utf8)
        guard write(STDOUT_FILENO, consent, consent.count) == consent.count else {
            throw CommandError(.internalError, "the supervisor cannot be told: \(String(cString: strerror(errno)))")
        }
        return .success
    }

    /// Goes on where the program left off that this process was, or gives the process back to it.
    private func resume(_ value: String) throws -> ExitCode {
        guard let descriptor = Int32(value), fcntl(descriptor, F_SETFD, FD_CLOEXEC) == 0 else {
            throw CommandError(.badUsage, "\(UpgradeImage.variable) is set: only a supervisor sets it; unset it")
        }
        Process.rename(Program.name)
        let image: UpgradeImage
        do throws(PlanError) {
            defer { close(descriptor) }
            image = try UpgradeImage.read(descriptor)
        } catch {
            throw CommandError(error.exitCode, error.sentence)
        }
        let supervisor: SupervisorProcess
        do {
            supervisor = try resumed(image)
        } catch {
            let reason = (error as? CommandError)?.message ?? "\(error)"
            let problem = image.isReturn ? "it is the old program already" : image.giveBack(reason: reason)
            throw CommandError(.internalError, "the upgrade failed: \(reason); no way back: \(problem)")
        }
        return supervisor.run()
    }

    private func resumed(_ image: UpgradeImage) throws -> SupervisorProcess {
        let plan = try plan(of: image)
        // Names of upstreams were looked up by the check: nothing is accepted until this process goes on.
        let prepared = image.isReturn ? image.planInForce : try plan.prepared(checkingReach: false)
        let setup = setup(prepared, plan.options, image.loopKind, programPath: image.programPath)
        return try SupervisorProcess(setup, resuming: image)
    }

    /// What is to be served from there on. What the files say by now may be meant for the program that has just failed.
    private func plan(of image: UpgradeImage) throws -> Plan {
        let text = image.planInForce.text
        return try source(image.isReturn && !text.isEmpty ? text : nil)
    }

    // MARK: A worker

    private func work(_ value: String) throws -> ExitCode {
        guard let birth = WorkerBirth(encoded: value) else {
            throw CommandError(
                .badUsage, "\(WorkerBirth.variable) is set to \(value): only a supervisor sets it; unset it")
        }
        Process.rename(Program.name, ":w\(birth.slot)")
        let control = HandoffSocket(owning: WorkerBirth.controlDescriptor)
        let page: StatusPage
        do throws(HandoffError) {
            page = try StatusPage(owning: WorkerBirth.pageDescriptor)
        } catch {
            throw CommandError(
                .badUsage,
                "\(WorkerBirth.variable) is set, but this process was not started by a supervisor (\(error)): unset it")
        }
        do {
            return try work(birth, control, page)
        } catch let error as SystemError {
            return tell(control, UringAvailability.exitCode(of: error), "\(error)")
        } catch let error as CommandError {
            return tell(control, error.code, error.message)
        }
    }

    private func work(_ birth: WorkerBirth, _ control: HandoffSocket, _ page: StatusPage) throws -> ExitCode {
        let plan = try source(Self.inheritedText())
        var logger = logger("worker", plan.options, to: WorkerBirth.logDescriptor)
        logger[metadataKey: "worker"] = .stringConvertible(birth.slot)
        var configuration = WorkerConfiguration(
            slot: birth.slot, incarnation: birth.incarnation, connectionsMax: birth.connectionsMax,
            orphanGrace: plan.options.grace.duration)
        configuration.loop = birth.loop.configuration
        let context = ServiceContext(logger: logger, slot: birth.slot, incarnation: birth.incarnation)
        let service = try plan.makeService(birth.listeners, context: context)
        return try WorkerProcess(configuration, control: control, page: page, service: service, logger: logger).run()
    }

    private func tell(_ control: HandoffSocket, _ code: ExitCode, _ message: String) -> ExitCode {
        _ = control.send(.failed(code, message: message))
        return code
    }

    /// The configuration that this worker is of, as its supervisor has read it; nil when the command line says all.
    private static func inheritedText() throws(CommandError) -> [UInt8]? {
        var status = stat()
        guard fstat(WorkerBirth.configurationDescriptor, &status) == 0, status.st_mode & S_IFMT != S_IFCHR else {
            return nil
        }
        defer { close(WorkerBirth.configurationDescriptor) }
        do throws(HandoffError) {
            return try SealedMemory.read(
                WorkerBirth.configurationDescriptor, sizeMax: ConfigurationFile.sizeMax)
        } catch {
            throw CommandError(.internalError, "the configuration cannot be read from the supervisor: \(error)")
        }
    }
}

extension UringUnavailability {
    /// What the process exits with.
    var exitCode: ExitCode {
        switch self {
        case .lockedMemory: .limitTooLow
        case .failed(let error) where [EMFILE, ENFILE, ENOMEM].contains(error.code): .limitTooLow
        case .seccomp, .disabledBySysctl, .oldKernel, .switchedOff, .failed: .ringUnavailable
        }
    }
}

extension UringAvailability {
    /// What a process exits with that could not make its loop.
    static func exitCode(of error: SystemError) -> ExitCode {
        guard error.call.hasPrefix("io_uring") else { return .internalError }
        return [ENOMEM, EMFILE, ENFILE].contains(error.code) ? .limitTooLow : .ringUnavailable
    }
}
