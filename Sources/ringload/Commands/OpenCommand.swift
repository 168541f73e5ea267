import ArgumentParser

/// Messages go out by the clock, whatever the server does.
struct OpenCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "open",
        abstract: "Open loop: messages at a fixed rate; latency counts from when each was due.")

    @OptionGroup var common: CommonOptions
    @Option(parsing: .unconditional, help: ArgumentHelp("Bytes of a message, 1 to 16777216.", valueName: "bytes"))
    var size = 64
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Messages per second, of all connections together, 0.1 to 10000000.", valueName: "n"))
    var rate: Double
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Messages unanswered on a connection, 1 to 65536; one that is due beyond that is skipped and counted, and the run fails.",
            valueName: "n"))
    var backlog = 256
    @Option(parsing: .unconditional, help: ArgumentHelp(secondsHelp, valueName: "seconds")) var seconds = 10.0
    @Option(parsing: .unconditional, help: ArgumentHelp(warmupHelp, valueName: "seconds")) var warmup = 0.0

    func plan() throws(LoadError) -> LoadPlan {
        try check("--rate", rate, in: 0.1...10_000_000)
        try check("--backlog", backlog, in: 1...65_536)
        return try common.plan(
            "open", .open(rate: rate, backlog: backlog), messageSize: size, seconds: seconds, warmup: warmup)
    }

    func run() throws { try common.run(plan()) }
}
