import ArgumentParser
import Glibc
import Handoff
import Supervisor
import Transport

/// `PROGRAM check`
struct CheckCommand<Program: RingmasterProgram>: ExitingCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: "check",
            abstract: "Says what this machine allows: kernel, io_uring, limits, CPUs, worker count.",
            discussion: """
                With --config also whether a configuration file can be used; no address is bound. Exits with 0 when \(Program.name) \
                can serve here, else with the code that serving would end with.
                """)
    }

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp("Worker processes to plan for. \(EnvironmentArguments.note("workers"))", valueName: "N|auto")
    )
    var workers: WorkerCount = .automatic

    @Option(
        name: .long,
        help: ArgumentHelp(
            "The transport to plan for: auto, io_uring, epoll. \(EnvironmentArguments.note("transport"))",
            valueName: "TRANSPORT"))
    var transport: TransportPreference = .auto

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Check this configuration file too, which says workers and transport then. \(EnvironmentArguments.note("config"))",
            valueName: "FILE"))
    var config: String?

    mutating func serve() throws -> ExitCode {
        let plan = try config.map { try PlanReader.source($0, Program.services)(nil) }
        let workers = plan?.options.workers ?? workers
        let transport = plan?.options.transport ?? transport
        let budget = CPUBudget.read()
        let count = workers.resolved(budget)
        line("kernel", Self.kernel)
        // As a policy may kill who tries, nothing is tried with --transport epoll.
        switch transport == .epoll ? .unavailable(.switchedOff) : UringAvailability.probe() {
        case .available(let features):
            line("io_uring", "available")
            line("  set-up", features.setupFlags.joined(separator: " "))
            line("  queues", "\(features.submissionEntries) submissions, \(features.completionEntries) completions")
            line("  multishot", "accept, receive, poll; buffer ring")
            line("  registered ring", features.hasRegisteredRing ? "yes" : "no")
            line("  incremental receive buffers", features.hasIncrementalBuffers ? "yes" : "no")
            line("  receive limit", features.hasReceiveLimit ? "yes" : "no")
        case .unavailable(let cause):
            line("io_uring", "not available: \(cause)")
        }
        var problems: [CommandError] = []
        do throws(CommandError) {
            let decision = try LoopDecision.make(transport, workers: count)
            switch (decision.kind, decision.cause) {
            case (.ring, _): line("transport", "io_uring")
            case (.smallRing, _): line("transport", "io_uring, with the smallest rings: locked memory is short")
            case (.epoll, let cause): line("transport", "epoll" + (cause.map { ": \($0)" } ?? ""))
            }
        } catch {
            line("transport", "none: \(error.message)")
            problems.append(error)
        }
        limit("RLIMIT_NOFILE", .openFiles, unit: "")
        limit("RLIMIT_MEMLOCK", .lockedMemory, unit: " bytes")
        line("cpus", "\(budget)")
        line("workers", "\(count)")
        do throws(CommandError) {
            if let plan { try describe(plan) } else { try describeServices(workers: count) }
        } catch {
            problems.append(error)
        }
        let reasons = problems.map(\.message).joined(separator: "; and ")
        line("verdict", "\(Program.name) " + (reasons.isEmpty ? "can serve here" : "cannot serve here: \(reasons)"))
        return problems.first?.code ?? .success
    }

    private func describe(_ plan: Plan) throws(CommandError) {
        let prepared = try plan.prepared()
        line("connections", "\(prepared.configuration.connectionsMax)")
        for listener in prepared.listeners { line("listener", "\(listener.address) \(listener.kind)") }
    }

    /// With one listener each. Of a service that demands options nothing is known without them.
    private func describeServices(workers: Int) throws(CommandError) {
        for options in Program.services.compactMap({ try? $0.parse([]) as any ServiceOptions }) {
            let limits = Limits(descriptorsPerConnection: options.descriptorsPerConnection, listeners: 1)
            line(
                "connections (\(type(of: options).kind))", "\(try limits.connectionsMax(asked: nil, workers: workers))")
        }
    }

    private func limit(_ name: String, _ resource: ResourceLimit.Resource, unit: String) {
        let limit = ResourceLimit.read(resource)
        func text(_ value: UInt64) -> String { value == ResourceLimit.unlimited ? "unlimited" : "\(value)\(unit)" }
        line(name, "\(text(limit.soft)), can be raised to \(text(limit.hard))")
    }

    private func line(_ name: String, _ value: String) {
        let padding = String(repeating: " ", count: max(1, 30 - name.count))
        Process.say("\(name)\(padding)\(value)")
    }

    private static var kernel: String {
        var name = utsname()
        guard uname(&name) == 0 else { return "unknown" }
        func text<Field>(_ field: Field) -> String {
            withUnsafeBytes(of: field) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        }
        return "\(text(name.sysname)) \(text(name.release)) \(text(name.machine))"
    }
}
