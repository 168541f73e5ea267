import ArgumentParser
import Glibc

/// A program that serves one or several services as `ringmaster` does: supervisor and workers in one file, with all of its
/// commands, options, environment variables, signals and exit codes.
///
///     @main enum Relays: RingmasterProgram {
///         static let name = "relays"
///         static let services: [any ServiceOptions.Type] = [RelayOptions.self, MirrorOptions.self]
///     }
///
/// Each service is a command, `relays mirror --listen …`. For a program with one service see ``RingmasterApplication``.
public protocol RingmasterProgram: SendableMetatype {
    /// What the program is called in its help and its messages: lower-case letters, digits and dashes. An upgrade goes to
    /// a program of the same name only.
    static var name: String { get }

    /// The program's version, for `--version` and `status`.
    static var version: String { get }

    /// What it does, in one line of help.
    static var abstract: String { get }

    /// More help; may have several paragraphs.
    static var discussion: String { get }

    /// What it can serve, each with a ``ServiceOptions/kind`` that no other has and no command of every program. At least
    /// one.
    static var services: [any ServiceOptions.Type] { get }

    /// The configuration file that the help of `run` shows.
    static var configurationExample: String { get }
}

extension RingmasterProgram {
    /// None.
    public static var version: String { "unversioned" }

    /// That it serves.
    public static var abstract: String { "Serves network connections with several worker processes." }

    /// Nothing more to say.
    public static var discussion: String { "" }

    /// One listener with the first service.
    public static var configurationExample: String {
        """
        workers: 4
        listeners:
          - listen: 0.0.0.0:7000
            service: \(services.first?.kind ?? "")
        """
    }

    /// Runs the program: parses its arguments, does what they say, and exits. As a worker when a supervisor has started it.
    /// Call it on the main thread and as the first thing that the process does.
    public static func main() {
        Process.openStandardDescriptors()
        // A reader of the log that goes away must not end the server.
        signal(SIGPIPE, SIG_IGN)
        exit(run(Array(CommandLine.arguments.dropFirst())).rawValue)
    }

    /// Parses, validates, runs; says on standard error what is wrong.
    static func run(_ arguments: [String]) -> ExitCode {
        let root = root(arguments)
        do {
            let given = try EnvironmentArguments.adding(
                to: arguments, options: options(arguments), from: Process.environment)
            var command = try root.parseAsRoot(given)
            guard var runnable = command as? any ExitingCommand else {
                // `help`, or no subcommand: the parser's own command prints what it has to.
                try command.run()
                return .success
            }
            return try runnable.serve()
        } catch let error as CommandError {
            Process.complain("\(name): \(error.message)")
            return error.code
        } catch {
            return report(error, root, arguments)
        }
    }

    /// The parser's errors in one line; help and version texts as they are.
    private static func report(
        _ error: any Error, _ root: any ParsableCommand.Type, _ arguments: [String]
    ) -> ExitCode {
        guard root.exitCode(for: error) != .success else {
            Process.say(root.fullMessage(for: error))
            return .success
        }
        let message = EnvironmentArguments.explain(
            ParserMessage.oneLine(root.message(for: error)), arguments: arguments, options: options(arguments))
        let words = [name, command(arguments)?.configuration.commandName].compactMap { $0 }
        let command = words.last == name ? name : words.joined(separator: " ")
        Process.complain("\(name): \(message) (try: \(command) --help)")
        return .badUsage
    }
}
