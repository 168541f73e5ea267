import ArgumentParser

/// `PROGRAM reload`
struct ReloadCommand<Program: RingmasterProgram>: ExitingCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: "reload",
            abstract: "Has a running \(Program.name) read its configuration again, as SIGHUP does.",
            discussion: """
                Returns when the new configuration serves, with exit code 0; or when it does not, with 1 and the reason: \
                then the old one goes on.
                """)
    }

    @OptionGroup var control: ControlOptions

    mutating func serve() throws -> ExitCode { try control.perform(.reload) }
}
