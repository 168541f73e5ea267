import ArgumentParser

/// `PROGRAM stop`
struct StopCommand<Program: RingmasterProgram>: ExitingCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: "stop", abstract: "Stops a running \(Program.name), as SIGTERM does.",
            discussion: "Its connections finish first, for at most its --grace.")
    }

    @Flag(
        name: .long, help: "Cut all connections and end at once, as SIGINT does. \(EnvironmentArguments.note("fast"))")
    var fast = false

    @OptionGroup var control: ControlOptions

    mutating func serve() throws -> ExitCode { try control.perform(.stop(fast: fast)) }
}
