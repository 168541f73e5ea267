import ArgumentParser

/// `PROGRAM upgrade`
struct UpgradeCommand<Program: RingmasterProgram>: ExitingCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: "upgrade",
            abstract: "Has a running \(Program.name) go on with the program file as it is now, as SIGUSR2 does.",
            discussion: """
                Put the new program in the old one's place first. The process keeps its PID, and clients notice nothing. \
                Returns when the new program serves, with exit code 0; or when it does not, with 1 and the reason: then \
                the old one goes on.
                """)
    }

    @OptionGroup var control: ControlOptions

    mutating func serve() throws -> ExitCode { try control.perform(.upgrade) }
}
