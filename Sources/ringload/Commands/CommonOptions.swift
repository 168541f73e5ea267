import ArgumentParser
import Transport

extension TransportKind: ExpressibleByArgument {}
extension BulkDirection: ExpressibleByArgument {}

let secondsHelp = "How long to measure, in seconds, 0.01 to 86400."
let warmupHelp = "How long to load the server before that, in seconds, 0 to 86400; what happens then is not measured."

/// What every subcommand has. A number is taken as it stands, so that one below 0 is told as out of range, not as an option.
struct CommonOptions: ParsableArguments {
    @Argument(
        help: ArgumentHelp(
            "The server: HOST:PORT, [IPV6]:PORT or unix:/path; port 1 to 65535.", valueName: "address:port"))
    var target: String

    @Option(parsing: .unconditional, help: ArgumentHelp("Connections at once, 1 to 100000.", valueName: "n"))
    var connections = 1

    @Option(
        help: ArgumentHelp(
            "How to reach the kernel: io_uring or epoll. (default: io_uring where it can be had)", valueName: "loop"))
    var loop: TransportKind?

    @Flag(inversion: .prefixedNo, help: "Compare every byte that comes back with what was sent.")
    var verify = true

    @Option(
        help: ArgumentHelp(
            "Write the result as JSON to this file too; - is standard output. (default: none)", valueName: "file"))
    var json: String?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "A line on standard error every so many seconds, 0.1 to 86400. (default: none)", valueName: "seconds"))
    var progress: Double?

    @Option(
        help: ArgumentHelp(
            "Addresses to connect from, in turn: A or A-B (IPv4, 65536 at most). (default: the kernel's choice; on loopback with many connections several)",
            valueName: "address-range"))
    var source: String?

    @Option(parsing: .unconditional, help: ArgumentHelp("Attempts to connect at once, 1 to 4096.", valueName: "n"))
    var connectAtOnce = 256

    /// A plan with these options, checked.
    func plan(
        _ name: String, _ kind: LoadPlan.Kind, messageSize: Int = 1, active: Int? = nil, seconds: Double?,
        warmup: Double = 0
    ) throws(LoadError) -> LoadPlan {
        try check("--connections", connections, in: 1...LoadPlan.connectionsMax)
        try check("--connect-at-once", connectAtOnce, in: 1...4096)
        try check("--size", messageSize, in: 1...LoadPlan.messageSizeMax)
        if let seconds { try check("--seconds", seconds, in: 0.01...86_400) }
        try check("--warmup", warmup, in: 0...86_400)
        if let progress { try check("--progress", progress, in: 0.1...86_400) }
        let target = try TargetAddress.resolve(target)
        var plan = LoadPlan(
            name: name, target: target, transport: try decideLoop(), connections: connections,
            active: active ?? connections, kind: kind, messageSize: messageSize)
        plan.seconds = seconds
        plan.warmupSeconds = warmup
        plan.verifies = verify
        plan.connectAtOnce = connectAtOnce
        plan.progressSeconds = progress
        plan.sources = try sources(for: plan)
        let (inFlight, overflows) = messageSize.multipliedReportingOverflow(by: plan.depthMax)
        guard !overflows, inFlight <= LoadPlan.bytesInFlightMax else {
            throw LoadError(
                .usage,
                "\(plan.depthMax) messages of \(messageSize) bytes in flight on a connection are more than 64 MiB: "
                    + "give a smaller --size, or a smaller --depth or --backlog")
        }
        return plan
    }

    private func decideLoop() throws(LoadError) -> TransportDecision {
        let preference: TransportPreference =
            switch loop {
            case nil: .auto
            case .ioUring?: .ioUring
            case .epoll?: .epoll
            }
        do throws(UringUnavailability) {
            return try preference.decide()
        } catch {
            throw LoadError(.system, "\(error); or give --loop epoll")
        }
    }

    private func sources(for plan: LoadPlan) throws(LoadError) -> SourceRange? {
        var isChurn = false
        if case .churn = plan.kind { isChurn = true }
        guard let source else {
            return SourceRange.automatic(for: plan.target, connections: plan.connections, isChurn: isChurn)
        }
        guard let range = SourceRange(parsing: source) else {
            throw LoadError(
                .usage,
                "--source \(source): write an address or a range of IPv4 addresses, such as 127.0.0.2-127.0.0.9, of \(SourceRange.countMax) "
                    + "at most")
        }
        guard range.family == plan.target.family else {
            throw LoadError(.usage, "--source \(source) is of another address family than \(plan.target)")
        }
        return range
    }

    /// Carries the plan out and tells the result.
    func run(_ plan: LoadPlan) throws {
        // Better now than when the result is there.
        if let json { try Terminal.checkWritable(json) }
        try DescriptorNeed(connections: plan.connections).raiseLimit()
        let report = try LoadProgram.run(plan, interruption: try Interruption())
        // With the JSON on standard output nothing else stands there.
        if json == "-" { Terminal.complainPlainly(report.text) } else { Terminal.say(report.text) }
        if let json { try Terminal.write(report.json.text, toFile: json) }
        if report.exitCode != 0 { throw ExitCode(report.exitCode) }
    }
}

/// Says which values an option may have, if it has another.
func check<Value: Comparable>(_ option: String, _ value: Value, in range: ClosedRange<Value>) throws(LoadError) {
    guard range.contains(value) else {
        throw LoadError(.usage, "\(option) \(value): write a number from \(range.lowerBound) to \(range.upperBound)")
    }
}
