import ArgumentParser

/// `PROGRAM SERVICE`; of an application, `PROGRAM`.
struct ServeCommand<Program: RingmasterProgram, Options: ServiceOptions>: ExitingCommand {
    static var configuration: CommandConfiguration {
        guard Program.defaultCommand != nil else {
            return CommandConfiguration(
                commandName: Options.kind, abstract: Options.abstract, discussion: Options.discussion)
        }
        return CommandConfiguration(
            commandName: Program.name, abstract: Program.abstract,
            discussion: Program.paragraphs(Program.discussion, commands, Program.notes), version: Program.version)
    }

    /// What an application can do besides.
    private static var commands: String {
        let lines = Program.subcommands.map { command in
            let configuration = command.configuration
            return "  \(Program.name) \(configuration.commandName ?? "")\n    \(configuration.abstract)"
        }
        return "Commands, each with its own --help:\n" + lines.joined(separator: "\n")
    }

    @OptionGroup var listen: ListenOptions
    @OptionGroup var common: CommonOptions
    @OptionGroup var options: Options

    mutating func serve() throws -> ExitCode {
        let plan = try Plan(listen, common, options)
        return try Server<Program> { _ in plan }.run()
    }
}
