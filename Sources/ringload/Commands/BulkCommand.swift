import ArgumentParser

/// Streams, as fast as they flow.
struct BulkCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bulk",
        abstract: "Streams of bytes: echoed, sent only, or received only.")

    @OptionGroup var common: CommonOptions
    @Option(help: ArgumentHelp("echo, send or receive.", valueName: "direction")) var direction = BulkDirection.echo
    @Option(
        help: ArgumentHelp(
            "A line sent first on each connection, with CR and LF, for a server that then sends; \\r and \\n stand for themselves.",
            valueName: "line"))
    var request: String?
    @Option(help: ArgumentHelp("How long to measure.", valueName: "seconds")) var seconds = 10.0
    @Option(help: ArgumentHelp("How long to send before that.", valueName: "seconds")) var warmup = 0.0

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
