import ArgumentParser
import Glibc
import Handoff

/// The command: `ringmaster SERVICE OPTIONS`.
struct Ringmaster: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ringmaster",
        abstract: "Serves network connections with several worker processes on io_uring.",
        discussion: """
            One supervisor accepts connections and hands each to one of its workers. A worker that dies is replaced; \
            connections it had not taken yet go to another.

            Examples:
              ringmaster echo --listen 127.0.0.1:7000 --workers 2
              ringmaster proxy --listen 0.0.0.0:6379 --upstream 10.0.0.7:6379
              ringmaster run --config /etc/ringmaster.yaml
              ringmaster check
              ringmaster status --control /run/ringmaster.sock

            SIGTERM stops it when its connections have finished, or --grace is over; SIGINT stops it at once. \
            Every option can be given as an environment variable: --max-connections is RINGMASTER_MAX_CONNECTIONS. \
            To what a configuration file says or leaves out that does not apply.
            """,
        version: "0.1.0",
        subcommands: [
            EchoCommand.self, ProxyCommand.self, RunCommand.self, CheckCommand.self, StatusCommand.self,
            ReloadCommand.self, UpgradeCommand.self, ScaleCommand.self, DrainCommand.self, StopCommand.self,
        ])
}

@main
enum Program {
    static func main() {
        Process.openStandardDescriptors()
        // A reader of the log that goes away must not end the server.
        signal(SIGPIPE, SIG_IGN)
        exit(run(Array(CommandLine.arguments.dropFirst())).rawValue)
    }

    /// Parses, validates, runs; says on standard error what is wrong.
    static func run(_ arguments: [String]) -> ExitCode {
        do {
            let given = try EnvironmentArguments.adding(to: arguments, from: Process.environment)
            var command = try Ringmaster.parseAsRoot(given)
            guard var runnable = command as? any ExitingCommand else {
                // `--help`, or no subcommand: the parser's own command prints what it has to.
                try command.run()
                return .success
            }
            return try runnable.serve()
        } catch let error as CommandError {
            Process.complain(error.message)
            return error.code
        } catch {
            return report(error, arguments)
        }
    }

    /// A parser's message without line breaks: it lists allowed values in lines of their own.
    static func oneLine(_ message: String) -> String {
        var lines = message.split(separator: "\n").map { $0.trimmingPrefix { " -".contains($0) } }
        let first = lines.isEmpty ? "the arguments make no sense" : lines.removeFirst()
        return lines.isEmpty ? String(first) : "\(first) \(lines.joined(separator: ", "))"
    }

    /// The parser's errors in one line; help and version texts as they are.
    private static func report(_ error: any Error, _ arguments: [String]) -> ExitCode {
        guard Ringmaster.exitCode(for: error) != .success else {
            print(Ringmaster.fullMessage(for: error))
            return .success
        }
        let message = EnvironmentArguments.explain(oneLine(Ringmaster.message(for: error)), arguments: arguments)
        let services = Ringmaster.configuration.subcommands.compactMap { $0.configuration.commandName }
        let service = arguments.first { services.contains($0) }.map { " \($0)" } ?? ""
        Process.complain("\(message) (try: ringmaster\(service) --help)")
        return .badUsage
    }
}

/// Not the parser's type of that name.
typealias ExitCode = Handoff.ExitCode

/// A command that ends with one of Ringmaster's exit codes.
protocol ExitingCommand: ParsableCommand {
    mutating func serve() throws -> ExitCode
}

/// Input that cannot be used, or a machine that does not allow what was asked: one line, and an exit code of its own.
struct CommandError: Error {
    var code: ExitCode
    var message: String

    init(_ code: ExitCode, _ message: String) {
        self.code = code
        self.message = message
    }
}

/// What the process was started with, and where it speaks.
enum Process {
    /// Name and value of each environment variable.
    static var environment: [(name: String, value: String)] {
        var pairs: [(String, String)] = []
        var entry = environ
        while let text = entry.pointee {
            let variable = String(cString: text)
            if let equals = variable.firstIndex(of: "=") {
                pairs.append((String(variable[..<equals]), String(variable[variable.index(after: equals)...])))
            }
            entry += 1
        }
        return pairs
    }

    /// The value of one variable.
    static func environment(_ name: String) -> String? {
        environment.first { $0.name == name }?.value
    }

    /// The file that this program was started from, by the name it was started by: after an upgrade on disk that name
    /// leads to the new file. Absolute, and not resolved, since it may be a symbolic link that is changed.
    static var programPath: String {
        let name = CommandLine.arguments.first ?? ""
        let own = path(ofLink: "/proc/self/exe") ?? name
        if name.hasPrefix("/") { return name }
        if name.contains("/") { return path(ofLink: "/proc/self/cwd").map { "\($0)/\(name)" } ?? own }
        let directories = environment("PATH")?.split(separator: ":").map(String.init) ?? []
        return directories.map { "\($0)/\(name)" }.first { $0.hasPrefix("/") && access($0, X_OK) == 0 } ?? own
    }

    private static func path(ofLink link: String) -> String? {
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink(link, &buffer, buffer.count)
        return count > 0 ? String(decoding: buffer[..<count].map(UInt8.init(bitPattern:)), as: UTF8.self) : nil
    }

    /// Opens /dev/null in place of a standard stream that is closed: else the next descriptor opened, perhaps a listening
    /// socket, would take its number, and be written to as the log.
    static func openStandardDescriptors() {
        for fd in STDIN_FILENO...STDERR_FILENO where fcntl(fd, F_GETFD) < 0 {
            // The lowest free number, so this one.
            _ = open("/dev/null", O_RDWR)
        }
    }

    /// One line on standard error.
    static func complain(_ message: String) {
        let line = Array("ringmaster: \(message)\n".utf8)
        _ = write(STDERR_FILENO, line, line.count)
    }

    /// What ps(1) and top(1) call this process: 15 bytes at most (proc(5), /proc/PID/comm).
    static func rename(_ name: String) {
        let file = open("/proc/self/comm", O_WRONLY | O_CLOEXEC)
        guard file >= 0 else { return }
        _ = write(file, name, name.utf8.count)
        close(file)
    }
}
