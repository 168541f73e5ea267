import ArgumentParser

/// `ringmaster stop`
struct StopCommand: ExitingCommand {
    static let configuration = CommandConfiguration(
        commandName: "stop", abstract: "Stops a running ringmaster, as SIGTERM does.",
        discussion: "Its connections finish first, for at most its --grace.")

    @Flag(name: .long, help: "Cut all connections and end at once, as SIGINT does. \(variable("fast"))")
    var fast = false

    @OptionGroup var control: ControlOptions

    mutating func serve() throws -> ExitCode { try control.perform(.stop(fast: fast)) }
}
