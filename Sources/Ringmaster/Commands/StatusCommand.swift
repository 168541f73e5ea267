import ArgumentParser
import Glibc
import Supervisor

/// `PROGRAM status`
struct StatusCommand<Program: RingmasterProgram>: ExitingCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: "status", abstract: "Shows how a running \(Program.name) is: workers, listeners, counters.",
            discussion: """
                For each listener it shows the connections that wait in the kernel to be accepted. They are accepted at \
                once while a worker has room; a queue that stays filled says that none has.

                Example:
                  \(Program.name) status --control /run/\(Program.name).sock
                """)
    }

    @OptionGroup var control: ControlOptions

    @Flag(name: .long, help: "All of it as one line of JSON. \(EnvironmentArguments.note("json"))")
    var json = false

    mutating func serve() throws -> ExitCode {
        let reply = try control.ask(.status, timeout: ControlOptions.statusTimeout)
        guard let status = reply.status else {
            throw CommandError(.internalError, "the supervisor answered without a status: \(reply.message)")
        }
        if json {
            Process.say(try status.json())
        } else {
            for line in StatusTable.lines(status, now: Int64(time(nil))) { Process.say(line) }
        }
        return .success
    }
}
