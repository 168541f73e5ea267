import Supervisor
import Transport

extension Plan {
    /// Checks what this machine and the names in the plan allow, and looks up where to listen. Binds nothing. May take as
    /// long as a resolver takes.
    func prepared(checkingReach: Bool = true) throws(CommandError) -> SupervisorPlan {
        if checkingReach { try checkReachable() }
        let listeners = try resolvedListeners()
        let workers = options.workers.resolved(CPUBudget.read())
        let limits = Limits(descriptorsPerConnection: descriptorsPerConnection, listeners: listeners.count)
        let connectionsMax: Int
        do throws(CommandError) {
            connectionsMax = try limits.connectionsMax(asked: options.maxConnections, workers: workers)
        } catch {
            throw located(error)
        }
        var configuration = SupervisorConfiguration(
            workerCount: workers, balance: options.balance, connectionsMax: connectionsMax,
            grace: options.grace.duration, seed: UInt64.random(in: 0 ... .max))
        configuration.hangTimeout = options.hangTimeout.duration.unlessZero
        configuration.recycle = options.recyclePolicy
        configuration.migrationsPerSecond = UInt32(options.migrationRate)
        return SupervisorPlan(
            configuration: configuration, listeners: listeners, descriptorsPerConnection: descriptorsPerConnection,
            text: source)
    }

    private func resolvedListeners() throws(CommandError) -> [ListenerPlan] {
        var plans: [ListenerPlan] = []
        var owners: [SocketAddress: Int] = [:]
        for (index, listener) in listeners.enumerated() {
            for address in try resolved(listener.address) {
                // Port 0 is another port each time.
                if address.port != 0, let owner = owners.updateValue(index, forKey: address), owner != index {
                    throw Self.duplicate(listeners[owner].address, listener.address)
                }
                plans.append(
                    ListenerPlan(address: address, kind: listener.service.kind, backlog: Int32(options.backlog)))
            }
        }
        return plans
    }

    private func resolved(_ address: ListenAddress) throws(CommandError) -> [SocketAddress] {
        do throws(HostLookupError) {
            return try address.resolve()
        } catch {
            throw CommandError(.badUsage, "--listen \(address): \(error)")
        }
    }

    private static func duplicate(_ one: ListenAddress, _ other: ListenAddress) -> CommandError {
        one == other
            ? CommandError("--listen \(one) is given twice: leave out one of the two")
            : CommandError("--listen \(one) and --listen \(other) are the same address: leave out one of the two")
    }

    /// What is out of reach now is most likely misspelt: better said at once than by failing connections.
    private func checkReachable() throws(CommandError) {
        var checked: Set<PlannedService> = []
        for listener in listeners where checked.insert(listener.service).inserted {
            do throws(CommandError) {
                try listener.service.options.checkReachable()
            } catch {
                throw listener.origin?.located(error) ?? error
            }
        }
    }
}

extension CommonOptions {
    fileprivate var recyclePolicy: RecyclePolicy {
        RecyclePolicy(
            ageMax: recycleAge.duration.unlessZero,
            connectionsMax: recycleConnections == 0 ? nil : UInt64(recycleConnections),
            memoryMax: recycleMemory == 0 ? nil : UInt64(recycleMemory) << 20)
    }
}

extension Duration {
    fileprivate var unlessZero: Duration? { self == .zero ? nil : self }
}
