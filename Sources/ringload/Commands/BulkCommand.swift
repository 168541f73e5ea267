import ArgumentParser

/// Streams, as fast as they flow.
struct BulkCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bulk",
        abstract: "Streams of bytes: echoed, sent only, or received only.")

    @OptionGroup var common: CommonOptions
    @Option(help: ArgumentHelp("Which way bytes flow: echo, send or receive.", valueName: "direction")) var direction =
        BulkDirection.echo
    @Option(
        help: ArgumentHelp(
            "With --direction receive: a line sent first on each connection, for a server that then sends. \\r and \\n are written as in C; "
                + "without \\n the line gets CR and LF. (default: none)",
            valueName: "line"))
    var request: String?
    @Option(parsing: .unconditional, help: ArgumentHelp(secondsHelp, valueName: "seconds")) var seconds = 10.0
    @Option(parsing: .unconditional, help: ArgumentHelp(warmupHelp, valueName: "seconds")) var warmup = 0.0

    func plan() throws(LoadError) -> LoadPlan {
        guard request == nil || direction == .receive else {
            throw LoadError(.usage, "--request goes with --direction receive")
        }
        var plan = try common.plan(
            "bulk", .bulk(direction, request: request.map(Self.bytes) ?? []), seconds: seconds, warmup: warmup)
        // What the server sends by itself is not known here.
        if direction != .echo { plan.verifies = false }
        return plan
    }

    private static func bytes(_ line: String) -> [UInt8] {
        // One with line ends of its own is sent as it stands.
        guard line.contains("\\n") else { return Array((line + "\r\n").utf8) }
        return Array(
            line.split(separator: "\\r", omittingEmptySubsequences: false).joined(separator: "\r")
                .split(separator: "\\n", omittingEmptySubsequences: false).joined(separator: "\n").utf8)
    }

    func run() throws { try common.run(plan()) }
}
