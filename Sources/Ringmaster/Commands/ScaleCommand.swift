import ArgumentParser

/// `PROGRAM scale N`
struct ScaleCommand<Program: RingmasterProgram>: ExitingCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: "scale", abstract: "Changes the number of workers of a running \(Program.name).",
            discussion: """
                Connections of workers that are too many move to the others.

                Example:
                  \(Program.name) scale 4 --control /run/\(Program.name).sock
                """)
    }

    @Argument(help: ArgumentHelp("Workers there shall be, 1 to 1024.", valueName: "N"))
    var workers: Int

    @OptionGroup var control: ControlOptions

    mutating func serve() throws -> ExitCode {
        guard (1...WorkerCount.max).contains(workers) else {
            throw CommandError(
                .badUsage, "scale \(workers) is out of range: give a number from 1 to \(WorkerCount.max)")
        }
        return try control.perform(.scale(to: workers))
    }
}
