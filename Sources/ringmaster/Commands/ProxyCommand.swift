import ArgumentParser

/// `ringmaster proxy`
struct ProxyCommand: ExitingCommand {
    static let configuration = CommandConfiguration(
        commandName: "proxy", abstract: "Passes TCP or Unix-domain connections on to upstream servers.",
        discussion: """
            Bytes, end of file and resets pass in both directions. When an upstream cannot be connected the next one is \
            tried, and the failed one is left alone for a while. Host names are looked up again and again; the last good \
            answer is kept.

            Examples:
              ringmaster proxy --listen 0.0.0.0:6379 --upstream redis:6379
              ringmaster proxy --listen unix:/run/pg.sock --upstream db:5432
            """)

    @OptionGroup var listen: ListenOptions
    @OptionGroup var common: CommonOptions
    @OptionGroup var options: ProxyOptions

    mutating func serve() throws -> ExitCode {
        let plan = try Plan(listen, common, .proxy(options.configuration()))
        return try Server { _ in plan }.run()
    }
}
