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
        if case .unavailable(let cause) = UringAvailability.probe() {
            throw CommandError(cause.exitCode, "\(cause)")
        }
        let connectionsMax = try Limits(descriptorsPerConnection: descriptorsPerConnection)
            .connectionsMax(asked: options.maxConnections, workers: workers)
        let logger = logger("supervisor")
        let listeners = try bind(addresses)
        for listener in listeners {
            let bound = Socket.localAddress(of: listener)
            logger.info("listening", metadata: ["address": "\(bound.map(String.init(describing:)) ?? "?")"])
        }
        var configuration = SupervisorConfiguration(
            workerCount: workers, balance: options.balance, connectionsMax: connectionsMax,
            grace: options.grace.duration, seed: UInt64.random(in: 0 ... .max))
        configuration.pendingMax = Limits.pendingMax
        logger.debug(
            "workers chosen",
            metadata: ["workers": "\(workers)", "budget": "\(budget)", "max-connections": "\(connectionsMax)"])
        let launcher = WorkerLauncher(
            arguments: CommandLine.arguments, environment: Process.environment.map { "\($0.name)=\($0.value)" })
        do {
            let supervisor = try SupervisorProcess(
                configuration, listeners: listeners, launcher: launcher, logger: logger)
            return supervisor.run()
        } catch let error as SystemError {
            throw CommandError(UringAvailability.exitCode(of: error), "the supervisor cannot start: \(error)")
        }
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
                    for case .unix(let path)? in listeners.map({ Socket.localAddress(of: $0) }) { unlink(path) }
                    throw CommandError(.cannotBind, "cannot listen on \(address): \(error.listenRemedy(address))")
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
        let configuration = WorkerConfiguration(
            slot: birth.slot, generation: birth.generation, connectionsMax: birth.connectionsMax,
            orphanGrace: options.grace.duration)
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
        case (EADDRINUSE, .unix(let path)):
            "the path exists; stop the server that uses it, or remove it if none does: rm '\(path)'"
        case (EADDRINUSE, _):
            "the address is in use; stop the other server (ss -ltnp shows it) or choose another port"
        case (EACCES, _):
            "permission denied; ports below 1024 need CAP_NET_BIND_SERVICE, a path needs a writable directory"
        case (EADDRNOTAVAIL, _):
            "no interface of this machine has this address (ip addr shows them)"
        case (ENOENT, .unix):
            "the directory does not exist"
        default:
            description
        }
    }
}

extension UringUnavailability {
    /// What the process exits with.
    var exitCode: ExitCode {
        if case .lockedMemory = self { .limitTooLow } else { .ringUnavailable }
    }
}

extension UringAvailability {
    /// What a process exits with that could not make its loop.
    static func exitCode(of error: SystemError) -> ExitCode {
        guard error.call.hasPrefix("io_uring") else { return .internalError }
        return error.code == ENOMEM ? .limitTooLow : .ringUnavailable
    }
}
