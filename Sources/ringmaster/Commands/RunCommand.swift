import ArgumentParser

/// `ringmaster run`
struct RunCommand: ExitingCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Serves what a configuration file says.",
        discussion: """
            The file is YAML. Its keys are the options' names, without dashes. Options of the whole go to the top of the file; \
            each item under listeners has listen, service (echo or proxy) and that service's options:

              workers: 4
              listeners:
                - listen: 0.0.0.0:6379
                  service: proxy
                  upstream: [10.0.0.7:6379, 10.0.0.8:6379]
                - listen: ['127.0.0.1:7000', '[::1]:7000']
                  service: echo

            Of the environment only RINGMASTER_CONFIG is read: what the file leaves out has its default. \
            SIGHUP reads the file again. ringmaster check --config FILE says whether it can be used.
            """)

    @Option(
        name: .long, help: ArgumentHelp("The configuration file. \(variable("config"))", valueName: "FILE"))
    var config: String?

    mutating func serve() throws -> ExitCode {
        guard let config else {
            throw CommandError(
                .badUsage, "--config is missing: name a configuration file, for example --config /etc/ringmaster.yaml")
        }
        return try Server(Self.source(config)).run()
    }

    /// Reads a plan from a file, or from the text that was the file's when it was read before.
    static func source(_ path: String) -> PlanSource {
        { text throws(CommandError) in
            let reader = PlanReader(name: path)
            if let text { return try reader.plan(text) }
            return try reader.plan(ConfigurationFile.read(path))
        }
    }
}
