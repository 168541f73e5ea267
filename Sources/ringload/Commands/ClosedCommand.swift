import ArgumentParser

/// Each connection sends the next message when one has come back.
struct ClosedCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "closed",
        abstract: "Closed loop: each connection keeps --depth messages in flight.")

    @OptionGroup var common: CommonOptions
    @Option(parsing: .unconditional, help: ArgumentHelp("Bytes of a message, 1 to 16777216.", valueName: "bytes"))
    var size = 64
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Messages in flight on each connection, 1 to 1024.", valueName: "n"))
    var depth = 1
    @Option(parsing: .unconditional, help: ArgumentHelp(secondsHelp, valueName: "seconds")) var seconds = 10.0
    @Option(parsing: .unconditional, help: ArgumentHelp(warmupHelp, valueName: "seconds")) var warmup = 0.0

    func plan() throws(LoadError) -> LoadPlan {
        try check("--depth", depth, in: 1...1024)
        return try common.plan(
            "closed", .closed(depth: depth), messageSize: size, seconds: seconds, warmup: warmup)
    }

    func run() throws { try common.run(plan()) }
}
