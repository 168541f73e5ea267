import ArgumentParser

/// `PROGRAM run`
struct RunCommand<Program: RingmasterProgram>: ExitingCommand {
    static var configuration: CommandConfiguration {
        let kinds = Program.services.map { $0.kind }.joined(separator: " or ")
        let example = Program.configurationExample.split(separator: "\n", omittingEmptySubsequences: false)
        return CommandConfiguration(
            commandName: "run", abstract: "Serves what a configuration file says.",
            discussion: """
                The file is YAML. Its keys are the options' names, without dashes. Options of the whole go to the top of the file; \
                each item under listeners has listen, service (\(kinds)) and that service's options:

                \(example.map { "  \($0)" }.joined(separator: "\n"))

                Of the environment only RINGMASTER_CONFIG is read: what the file leaves out has its default. \
                SIGHUP reads the file again. \(Program.name) check --config FILE says whether it can be used.
                """)
    }

    @Option(
        name: .long,
        help: ArgumentHelp("The configuration file. \(EnvironmentArguments.note("config"))", valueName: "FILE"))
    var config: String?

    mutating func serve() throws -> ExitCode {
        guard let config else {
            throw CommandError(
                .badUsage,
                "--config is missing: name a configuration file, for example --config /etc/\(Program.name).yaml")
        }
        return try Server<Program>(PlanReader.source(config, Program.services)).run()
    }
}
