import ArgumentParser

/// `ringmaster drain SLOT`
struct DrainCommand: ExitingCommand {
    static let configuration = CommandConfiguration(
        commandName: "drain", abstract: "Replaces one worker of a running ringmaster.",
        discussion: """
            A new worker is started first; when it is ready, the old one gives its connections away and leaves.

            Example:
              ringmaster drain 0 --control /run/ringmaster.sock
            """)

    @Argument(help: ArgumentHelp("The worker's slot, as status shows it.", valueName: "SLOT"))
    var slot: Int

    @OptionGroup var control: ControlOptions

    mutating func serve() throws -> ExitCode {
        guard slot >= 0 else {
            throw CommandError(.badUsage, "drain \(slot) makes no sense: give a slot as ringmaster status shows it")
        }
        return try control.perform(.drain(slot: slot))
    }
}
