import ArgumentParser

/// A command that ends with one of Ringmaster's exit codes.
protocol ExitingCommand: ParsableCommand {
    mutating func serve() throws -> ExitCode
}

extension RingmasterProgram {
    /// What every program can do, beside serving.
    private static var commonCommands: [any ParsableCommand.Type] {
        [
            RunCommand<Self>.self, CheckCommand<Self>.self, StatusCommand<Self>.self, ReloadCommand<Self>.self,
            UpgradeCommand<Self>.self, ScaleCommand<Self>.self, DrainCommand<Self>.self, StopCommand<Self>.self,
        ]
    }

    /// What an application does without being told: serve.
    static var defaultCommand: (any ParsableCommand.Type)? {
        func command<Application: RingmasterApplication>(_ type: Application.Type) -> any ParsableCommand.Type {
            ServeCommand<Application, Application>.self
        }
        return (Self.self as? any RingmasterApplication.Type).map { command($0) }
    }

    /// The commands by their names.
    static var subcommands: [any ParsableCommand.Type] {
        func command<Options: ServiceOptions>(_ type: Options.Type) -> any ParsableCommand.Type {
            ServeCommand<Self, Options>.self
        }
        return (defaultCommand == nil ? services.map { command($0) } : []) + commonCommands
    }

    /// The command that `arguments` name, or the default one; nil when there is no such command.
    static func command(_ arguments: [String]) -> (any ParsableCommand.Type)? {
        subcommands.first { $0.configuration.commandName == arguments.first } ?? defaultCommand
    }

    /// What parses `arguments`. An application's own options are not looked for in the arguments of a command: some have the
    /// same names.
    static func root(_ arguments: [String]) -> any ParsableCommand.Type {
        let names = subcommands.map { $0.configuration.commandName } + ["help"]
        guard let defaultCommand, !names.contains(arguments.first) else { return RootCommand<Self>.self }
        return defaultCommand
    }

    /// The options that the environment can give.
    static func options(_ arguments: [String]) -> [OptionName] {
        command(arguments).map(OptionName.declared) ?? []
    }

    /// How it is stopped, and configured, in its help.
    static var notes: String {
        """
        SIGTERM stops it when its connections have finished, or --grace is over; SIGINT stops it at once. \
        Every option can be given as an environment variable: --max-connections is RINGMASTER_MAX_CONNECTIONS. \
        To what a configuration file says or leaves out that does not apply.
        """
    }

    /// Paragraphs of help without those that say nothing.
    static func paragraphs(_ texts: String...) -> String {
        texts.filter { !$0.isEmpty }.joined(separator: "\n\n")
    }
}

/// `PROGRAM`, which has commands.
struct RootCommand<Program: RingmasterProgram>: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: Program.name, abstract: Program.abstract,
            discussion: Program.paragraphs(Program.discussion, Program.notes), version: Program.version,
            subcommands: Program.subcommands)
    }
}
