import ArgumentParser
import Glibc
import Supervisor

/// `ringmaster status`
struct StatusCommand: ExitingCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Shows how a running ringmaster is: workers, listeners, counters.",
        discussion: """
            For each listener it shows the connections that wait in the kernel to be accepted. They are accepted at \
            once while a worker has room; a queue that stays filled says that none has.

            Example:
              ringmaster status --control /run/ringmaster.sock
            """)

    @OptionGroup var control: ControlOptions

    @Flag(name: .long, help: "All of it as one line of JSON. \(variable("json"))")
    var json = false

    mutating func serve() throws -> ExitCode {
        let reply = try control.ask(.status, timeout: ControlOptions.statusTimeout)
        guard let status = reply.status else {
            throw CommandError(.internalError, "the supervisor answered without a status: \(reply.message)")
        }
        if json {
            print(try status.json())
        } else {
            for line in StatusTable.lines(status, now: Int64(time(nil))) { print(line) }
        }
        return .success
    }
}
