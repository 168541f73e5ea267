import Glibc
import Handoff
import Logging
import Supervisor
import Transport
import Worker

/// Runs a service: as the supervisor, or, when a supervisor has spawned this process, as a worker.
struct Server {
    private let options: CommonOptions
    private let descriptorsPerConnection: Int
    private let validate: () throws -> Void
    private let makeService: (Logger) -> any Service

    /// - Parameters:
    ///   - descriptorsPerConnection: what one connection needs in a worker, as the service says.
    ///   - validate: checks, in the supervisor, what the options refer to.
    ///   - makeService: is called once, in each worker.
    init(
        _ options: CommonOptions, descriptorsPerConnection: Int, validate: @escaping () throws -> Void = {},
        makeService: @escaping (Logger) -> any Service
    ) {
        self.options = options
        self.descriptorsPerConnection = descriptorsPerConnection
        self.validate = validate
        self.makeService = makeService
    }

    func run() throws -> ExitCode {
        let addresses = try options.listenAddresses()
        try options.checkNumbers()
        if let value = Process.environment.first(where: { $0.name == WorkerBirth.variable })?.value {
            return try work(value)
        }
        try validate()
        return try supervise(addresses)
    }

    private func logger(_ label: String) -> Logger {
        var handler = LineLogHandler(label: label, format: options.logFormat, level: options.logLevel.level)
        handler.logLevel = options.logLevel.level
        return Logger(label: label) { _ in handler }
    }

    // MARK: The supervisor

    private func supervise(_ addresses: [ListenAddress]) throws -> ExitCode {
        let budget = CPUBudget.read()
        let workers: Int
        switch options.workers {
        case .automatic: workers = min(budget.cpuCount, WorkerCount.max)
        case .count(let count): workers = count
        }
        let decision = try LoopDecision.make(options.transport, workers: workers)
        let limits = Limits(descriptorsPerConnection: descriptorsPerConnection, listeners: addresses.count)
        let connectionsMax = try limits.connectionsMax(asked: options.maxConnections, workers: workers)
        let logger = logger("supervisor")
        let listeners = try bind(addresses)
        if let cause = decision.cause {
            let level: Logger.Level = options.transport == .epoll ? .debug : .notice
            logger.log(level: level, "serving with epoll", metadata: ["cause": "\(cause)"])
        }
        if decision.kind == .smallRing {
            logger.notice("locked memory is short (RLIMIT_MEMLOCK): every ring is of the smallest size")
        }
        for listener in listeners {
            let bound = Socket.localAddress(of: listener)
            logger.info("listening", metadata: ["address": "\(bound.map(String.init(describing:)) ?? "?")"])
        }
        let configuration = SupervisorConfiguration(
            workerCount: workers, balance: options.balance, connectionsMax: connectionsMax,
            grace: options.grace.duration, seed: UInt64.random(in: 0 ... .max))
        logger.debug(
            "workers chosen",
            metadata: ["workers": "\(workers)", "budget": "\(budget)", "max-connections": "\(connectionsMax)"])
        let launcher = WorkerLauncher(
            arguments: CommandLine.arguments, environment: Process.environment.map { "\($0.name)=\($0.value)" })
        do {
            let supervisor = try SupervisorProcess(
                configuration, listeners: listeners, launcher: launcher, loopKind: decision.kind, logger: logger)
            return supervisor.run()
        } catch {
            for case .unix(let path)? in listeners.map({ Socket.localAddress(of: $0) }) { unlink(path) }
            throw CommandError(Self.exitCode(of: error), "the supervisor cannot start: \(error)")
        }
    }

    private static func exitCode(of error: any Error) -> ExitCode {
        let code: Int32? = (error as? SystemError)?.code ?? (error as? HandoffError)?.errno
        if let code, [EMFILE, ENFILE, ENOMEM].contains(code) { return .limitTooLow }
        return (error as? SystemError).map(UringAvailability.exitCode) ?? .internalError
    }

    private func bind(_ addresses: [ListenAddress]) throws(CommandError) -> [Int32] {
        var listeners: [Int32] = []
        for listenAddress in addresses {
            let resolved: [SocketAddress]
            do throws(HostLookupError) {
                resolved = try listenAddress.resolve()
            } catch {
                throw CommandError(.badUsage, "--listen \(listenAddress): \(error)")
            }
            for address in resolved {
                do throws(SystemError) {
                    listeners.append(try Socket.listen(address, backlog: Int32(options.backlog)))
                } catch {
                    if case .unix(let path) = address, error.call == "listen" { unlink(path) }
                    for case .unix(let path)? in listeners.map({ Socket.localAddress(of: $0) }) { unlink(path) }
                    let code = [EMFILE, ENFILE].contains(error.code) ? ExitCode.limitTooLow : .cannotBind
                    throw CommandError(code, "cannot listen on \(address): \(error.listenRemedy(address))")
                }
            }
        }
        return listeners
    }

    // MARK: A worker

    private func work(_ value: String) throws -> ExitCode {
        guard let birth = WorkerBirth(encoded: value) else {
            throw CommandError(
                .badUsage, "\(WorkerBirth.variable) is set to \(value): only a supervisor sets it; unset it")
        }
        Process.rename("ringmaster:w\(birth.slot)")
        var logger = logger("worker")
        logger[metadataKey: "worker"] = "\(birth.slot)"
        let control = HandoffSocket(owning: WorkerBirth.controlDescriptor)
        let page: StatusPage
        do throws(HandoffError) {
            page = try StatusPage(owning: WorkerBirth.pageDescriptor)
        } catch {
            throw CommandError(
                .badUsage,
                "\(WorkerBirth.variable) is set, but this process was not started by a supervisor (\(error)): unset it")
        }
        var configuration = WorkerConfiguration(
            slot: birth.slot, incarnation: birth.incarnation, connectionsMax: birth.connectionsMax,
            orphanGrace: options.grace.duration)
        configuration.loop = birth.loop.configuration
        do throws(SystemError) {
            return try WorkerProcess(
                configuration, control: control, page: page, service: makeService(logger), logger: logger
            ).run()
        } catch {
            let code = UringAvailability.exitCode(of: error)
            _ = control.send(.failed(code, message: "\(error)"))
            return code
        }
    }
}

extension SystemError {
    /// What failed, and how to mend it.
    fileprivate func listenRemedy(_ address: SocketAddress) -> String {
        switch (code, address) {
        case (EADDRINUSE, .unix(let path)) where Self.isSocket(path):
            "the path exists; stop the server that uses it, or, if it was left behind by a crash, remove it: rm '\(path)'"
        case (EADDRINUSE, .unix):
            "the path exists and is not a socket; choose another"
        case (EMFILE, _), (ENFILE, _):
            "no descriptor is left; raise RLIMIT_NOFILE with ulimit -n, or listen on fewer addresses"
        case (EADDRINUSE, _):
            "the address is in use; stop the other server (ss -ltnp shows it) or choose another port"
        case (EACCES, .unix):
            "permission denied; the directory must be writable for this user"
        case (EACCES, _):
            "permission denied; ports below 1024 need CAP_NET_BIND_SERVICE"
        case (EADDRNOTAVAIL, _):
            "no interface of this machine has this address (ip addr shows them)"
        case (ENOENT, .unix):
            "the directory does not exist"
        default:
            description
        }
    }
}

extension SystemError {
    private static func isSocket(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFSOCK
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
