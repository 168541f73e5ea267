import CSocket
import Foundation
import Transport

/// How a process ended.
enum Ending: Equatable, CustomStringConvertible {
    case exited(Int32)
    case signalled(Int32)

    var description: String {
        switch self {
        case .exited(let code): "exit code \(code)"
        case .signalled(let signal): "signal \(signal)"
        }
    }
}

/// A process that a test started, in a process group of its own, with its output in files: no pipe can fill up.
///
/// Whoever starts one ends it with ``kill()`` in a `defer`.
final class ChildProcess {
    let pid: pid_t
    private let name: String
    private let directory: TemporaryDirectory
    private var ending: Ending?

    /// Starts `program`, a name looked up in the usual places or a path.
    ///
    /// `environment` comes on top of the test's own, less what would configure Ringmaster.
    init(_ program: String, _ arguments: [String], environment: [String: String] = [:], input: String = "/dev/null")
        throws
    {
        name = program
        directory = try TemporaryDirectory()
        let path = try Programs.path(of: program)
        let inherited = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("RINGMASTER_") }
        let variables = inherited.merging(environment) { $1 }.map { "\($0)=\($1)" }
        var pid: pid_t = 0
        let result = try Self.spawn(
            path, arguments: [program] + arguments, variables: variables, input: input,
            output: directory.path("stdout"), errors: directory.path("stderr"), pid: &pid)
        guard result == 0 else { throw HarnessError("\(path): \(String(cString: strerror(result)))") }
        self.pid = pid
    }

    private static func spawn(
        _ path: String, arguments: [String], variables: [String], input: String, output: String, errors: String,
        pid: inout pid_t
    ) throws -> Int32 {
        var actions = posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawnattr_init(&attributes)
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
        }
        posix_spawn_file_actions_addopen(&actions, 0, input, O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_TRUNC, 0o644)
        posix_spawn_file_actions_addopen(&actions, 2, errors, O_WRONLY | O_CREAT | O_TRUNC, 0o644)
        // A test runner may block or ignore signals; what it starts must not inherit that.
        var signals = sigset_t()
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        sigfillset(&signals)
        posix_spawnattr_setsigdefault(&attributes, &signals)
        posix_spawnattr_setpgroup(&attributes, 0)
        posix_spawnattr_setflags(
            &attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP))
        var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        var envp: [UnsafeMutablePointer<CChar>?] = variables.map { strdup($0) } + [nil]
        defer { for text in argv + envp { free(text) } }
        return posix_spawn(&pid, path, &actions, &attributes, &argv, &envp)
    }

    /// What it wrote to standard output until now.
    var output: String { read("stdout") }
    /// What it wrote to standard error until now.
    var errors: String { read("stderr") }

    private func read(_ file: String) -> String {
        (try? Data(contentsOf: URL(filePath: directory.path(file)))).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }

    /// Its ending, or nil as long as it runs.
    func poll() -> Ending? {
        if let ending { return ending }
        var status: Int32 = 0
        guard waitpid(pid, &status, WNOHANG) == pid else { return nil }
        let signal = status & 0x7f
        ending = signal == 0 ? .exited((status >> 8) & 0xff) : .signalled(signal)
        return ending
    }

    /// Waits until it ends by itself; throws with its output when it does not within `limit`.
    @discardableResult
    func waitForEnd(within limit: Duration = patience) throws -> Ending {
        try wait(for: "\(name) to end; it wrote:\n\(output)\(errors)", within: limit) { poll() != nil }
        return poll()!
    }

    func signal(_ number: Int32) {
        // A process that was reaped has no number any more that would be safe to use.
        if poll() == nil { Glibc.kill(pid, number) }
    }

    /// Ends it with a signal that it can answer to; then with one that it cannot.
    func stop(_ number: Int32 = SIGTERM) {
        signal(number)
        if (try? waitForEnd(within: .seconds(10))) == nil { kill() }
    }

    /// Ends it and its process group at once, if it still runs.
    func kill() {
        guard poll() == nil else { return }
        Glibc.kill(-pid, SIGKILL)
        _ = try? waitForEnd()
    }

    /// Runs a program to its end and returns it; throws when it takes longer than `limit`.
    static func run(
        _ program: String, _ arguments: [String], environment: [String: String] = [:], input: String = "/dev/null",
        within limit: Duration = patience
    ) throws -> ChildProcess {
        let process = try ChildProcess(program, arguments, environment: environment, input: input)
        defer { process.kill() }
        try process.waitForEnd(within: limit)
        return process
    }

    /// Runs a program that must succeed and returns what it wrote, to both.
    static func succeed(
        _ program: String, _ arguments: [String], input: String = "/dev/null", within limit: Duration = patience
    ) throws -> String {
        let process = try run(program, arguments, input: input, within: limit)
        guard process.poll() == .exited(0) else {
            throw HarnessError("\(program) \(arguments): \(process.poll()!)\n\(process.output)\(process.errors)")
        }
        return process.output + process.errors
    }
}
