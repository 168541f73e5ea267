import Foundation
import Transport

/// A `ringmaster` with a control socket.
final class Pool {
    /// What `ringmaster status --json` prints, as far as tests look at it.
    struct Status: Decodable {
        struct Pool: Decodable {
            var phase: String
            var generation: UInt32
            var wanted: Int
            var workers: [Worker]
            var pending: Int
            var counters: [String: Int]
            /// Missing when there was no reload or upgrade.
            var lastReplacement: Outcome?

            /// Connections that a draining worker gave up, for another.
            var moves: Int { counters["offersTaken"] ?? 0 }
        }

        struct Outcome: Decodable {
            var result, message: String
        }

        struct Worker: Decodable {
            var slot: Int
            var incarnation, generation: UInt32
            var state: String
            var live, inflight: Int
        }

        struct Process: Decodable {
            var slot: Int
            var pid: pid_t
        }

        struct LastWords: Decodable {
            var pid: pid_t
            var ending, text: String
        }

        var name: String
        var pid: pid_t
        var pool: Pool
        struct Listener: Decodable {
            var id: Int
            var address: String
        }

        var processes: [Process]
        var listeners: [Listener]
        var lastWords: [LastWords]

        /// Exactly the workers that there should be, each ready.
        var isComplete: Bool {
            pool.phase == "running" && pool.workers.count == pool.wanted
                && pool.workers.allSatisfy { $0.state == "ready" }
        }

        /// The same, and no socket on its way.
        var isSettled: Bool {
            isComplete && pool.pending == 0 && pool.workers.allSatisfy { $0.inflight == 0 }
        }
    }

    let ringmaster: Ringmaster
    /// The program that speaks with it.
    private let speaker: String
    private let directory: TemporaryDirectory
    private var control: String { directory.path("control") }

    /// Starts it with these arguments.
    init(
        _ arguments: [String], binary: String = Ringmaster.binary, speaker: String = Ringmaster.binary,
        environment: [String: String] = [:]
    ) throws {
        self.speaker = speaker
        directory = try TemporaryDirectory()
        ringmaster = try Ringmaster(
            arguments: arguments + ["--control", directory.path("control")], binary: binary, environment: environment)
    }

    /// Runs `ringmaster run` with a file that is made for the path of the control socket.
    init(
        configuration: (_ control: String) -> String, binary: String = Ringmaster.binary,
        environment: [String: String] = [:]
    ) throws {
        speaker = Ringmaster.binary
        directory = try TemporaryDirectory()
        let path = directory.path("configuration.yaml")
        try Data(configuration(directory.path("control")).utf8).write(to: URL(filePath: path))
        ringmaster = try Ringmaster(
            arguments: ["run", "--config", path], binary: binary, environment: environment)
    }

    /// Replaces the configuration file at once.
    func configure(_ configuration: (_ control: String) -> String) throws {
        let path = directory.path("configuration.yaml")
        try Data(configuration(control).utf8).write(to: URL(filePath: path), options: .atomic)
    }

    var address: SocketAddress { ringmaster.address }
    var workers: [pid_t] { ringmaster.workers }

    func kill() { ringmaster.kill() }

    /// Runs a command on the control socket to its end: `reload`, `scale 4`.
    func run(_ command: String...) throws -> ChildProcess {
        try ChildProcess.run(
            speaker, command + ["--control", control], within: .seconds(120))
    }

    /// Starts a command on the control socket; the caller ends it.
    func start(_ command: String...) throws -> ChildProcess {
        try ChildProcess(speaker, command + ["--control", control])
    }

    /// Runs a command that must succeed.
    func succeed(_ command: String...) throws {
        let process = try ChildProcess.run(speaker, command + ["--control", control], within: .seconds(120))
        guard process.poll() == .exited(0) else {
            throw HarnessError(
                "\(command): \(process.output)\(process.errors)\n\(ringmaster.process.errors.suffix(4000))")
        }
    }

    func status() throws -> Status {
        let process = try run("status", "--json")
        guard process.poll() == .exited(0) else { throw HarnessError("status: \(process.errors)") }
        return try JSONDecoder().decode(Status.self, from: Data(process.output.utf8))
    }

    /// Waits until nothing is on its way and nobody starts or drains.
    @discardableResult
    func settle(within limit: Duration = .seconds(90)) throws -> Status {
        var status = try status()
        try wait(for: "the pool to settle: \(status)", within: limit) {
            status = try self.status()
            return status.isSettled
        }
        return status
    }
}
