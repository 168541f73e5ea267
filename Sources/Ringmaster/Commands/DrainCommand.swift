import ArgumentParser

/// `PROGRAM drain SLOT`
struct DrainCommand<Program: RingmasterProgram>: ExitingCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: "drain", abstract: "Replaces one worker of a running \(Program.name).",
            discussion: """
                A new worker is started first; when it is ready, the old one gives its connections away and leaves.

                Example:
                  \(Program.name) drain 0 --control /run/\(Program.name).sock
                """)
    }

    @Argument(help: ArgumentHelp("The worker's slot, as status shows it.", valueName: "SLOT"))
    var slot: Int

    @OptionGroup var control: ControlOptions

    mutating func serve() throws -> ExitCode {
        guard slot >= 0 else {
            throw CommandError(
                .badUsage, "drain \(slot) makes no sense: give a slot as \(Program.name) status shows it")
        }
        return try control.perform(.drain(slot: slot))
    }
}
