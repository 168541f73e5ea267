import ArgumentParser

/// Connections that come and go.
struct ChurnCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "churn",
        abstract: "Connects, exchanges --messages messages, closes, again and again.")

    @OptionGroup var common: CommonOptions
    @Option(parsing: .unconditional, help: ArgumentHelp("Bytes of a message, 1 to 16777216.", valueName: "bytes"))
    var size = 64
    @Option(parsing: .unconditional, help: ArgumentHelp("Messages of each connection, 0 to 1000000.", valueName: "k"))
    var messages = 1
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("\(secondsHelp) (default: 10; with --total as long as that takes)", valueName: "seconds"))
    var seconds: Double?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "How many connections to make in all, 1 to 1000000000. (default: as many as the time allows)",
            valueName: "n"))
    var total: Int?
    @Option(parsing: .unconditional, help: ArgumentHelp(warmupHelp, valueName: "seconds")) var warmup = 0.0
    @Flag(help: "End connections with RST, which leaves no port in TIME_WAIT.") var reset = false

    func plan() throws(LoadError) -> LoadPlan {
        try check("--messages", messages, in: 0...1_000_000)
        if let total { try check("--total", total, in: 1...1_000_000_000) }
        return try common.plan(
            "churn", .churn(messages: messages, total: total, resets: reset), messageSize: size,
            seconds: seconds ?? (total == nil ? 10 : nil), warmup: warmup)
    }

    func run() throws { try common.run(plan()) }
}
