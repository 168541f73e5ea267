import ArgumentParser

/// Many connections, few of which say something.
struct IdleCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "idle",
        abstract: "A crowd of open connections, some of which exchange a message every --interval milliseconds.")

    @OptionGroup var common: CommonOptions
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Connections that exchange messages, 0 to --connections.", valueName: "m"))
    var active = 1
    @Option(parsing: .unconditional, help: ArgumentHelp("Bytes of a message, 1 to 16777216.", valueName: "bytes"))
    var size = 64
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Milliseconds from one message of a connection to its next, 0.1 to 3600000.", valueName: "ms"))
    var interval = 1000.0
    @Option(parsing: .unconditional, help: ArgumentHelp(secondsHelp, valueName: "seconds")) var seconds = 10.0
    @Option(parsing: .unconditional, help: ArgumentHelp(warmupHelp, valueName: "seconds")) var warmup = 0.0

    /// Messages unanswered on a connection.
    private static let backlog = 16

    func plan() throws(LoadError) -> LoadPlan {
        // They bound what may be active.
        try check("--connections", common.connections, in: 1...LoadPlan.connectionsMax)
        try check("--active", active, in: 0...common.connections)
        try check("--interval", interval, in: 0.1...3_600_000)
        return try common.plan(
            "idle", .open(rate: Double(active) * 1000 / interval, backlog: Self.backlog), messageSize: size,
            active: active, seconds: seconds, warmup: warmup)
    }

    func run() throws { try common.run(plan()) }
}
