import ArgumentParser
import Glibc
import Supervisor

/// What the commands have that speak with a running supervisor.
struct ControlOptions: ParsableArguments {
    @Option(
        name: .long,
        help: ArgumentHelp(
            "The control socket, as the running server was given it. \(EnvironmentArguments.note("control"))",
            valueName: "PATH"))
    var control: String?

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp(
            "Wait so long for the answer: by default 10 s for status, 600 s otherwise. \(EnvironmentArguments.note("timeout"))",
            valueName: "SECONDS"))
    var timeout: Seconds?

    static let statusTimeout: Duration = .seconds(10)
    static let commandTimeout: Duration = .seconds(600)

    /// Checks what the parser cannot.
    func path() throws(CommandError) -> String {
        guard let control, !control.isEmpty else {
            throw CommandError(
                .badUsage,
                "--control is missing: give the path that the running server was given, "
                    + "for example --control /run/server.sock")
        }
        if let timeout, timeout.duration == .zero {
            throw CommandError(.badUsage, "--timeout 0 leaves no time for an answer: give a positive number of seconds")
        }
        return control
    }

    /// Asks, waits, and returns the answer of a supervisor that has done what it was asked for.
    func ask(_ request: ControlRequest, timeout usual: Duration) throws(CommandError) -> ControlReply {
        let path = try path()
        let reply: ControlReply
        do throws(ControlCallError) {
            reply = try ControlCall.make(request, at: path, timeout: timeout?.duration ?? usual)
        } catch {
            throw CommandError(.internalError, error.description)
        }
        guard reply.ok else { throw CommandError(.internalError, reply.message) }
        return reply
    }

    /// Has something done, and prints what has been done.
    func perform(_ request: ControlRequest) throws(CommandError) -> ExitCode {
        Process.say(try ask(request, timeout: Self.commandTimeout).message)
        return .success
    }
}
