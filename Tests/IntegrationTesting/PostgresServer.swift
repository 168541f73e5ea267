import Foundation
import Transport

/// A PostgreSQL server on a Unix-domain socket, without durability. It refuses to run as root, so root lends it to
/// the user that Debian's package makes.
final class PostgresServer {
    var socketPath: String { directory.path(".s.PGSQL.5432") }
    private let directory: TemporaryDirectory
    private let process: ChildProcess

    init() throws {
        let directory = try TemporaryDirectory()
        self.directory = directory
        let data = directory.path("data")
        if getuid() == 0 {
            _ = try ChildProcess.succeed("chown", ["postgres:postgres", directory.root])
        }
        func asPostgres(_ program: String, _ arguments: [String]) throws -> (String, [String]) {
            guard getuid() == 0 else { return (program, arguments) }
            let command = ["--reuid=postgres", "--regid=postgres", "--clear-groups", try Programs.path(of: program)]
            return ("setpriv", command + arguments)
        }
        let (initialise, options) = try asPostgres("initdb", ["-D", data, "-U", "postgres", "-A", "trust", "-N"])
        _ = try ChildProcess.succeed(initialise, options, within: .seconds(120))
        let (start, command) = try asPostgres(
            "postgres", ["-D", data, "-c", "listen_addresses=", "-k", directory.root, "-c", "fsync=off"])
        let process = try ChildProcess(start, command)
        self.process = process
        do {
            try wait(for: "postgres:\n\(process.errors)") {
                try ChildProcess.run("pg_isready", ["-q", "-h", directory.root]).poll() == .exited(0)
            }
        } catch {
            process.kill()
            throw error
        }
    }

    /// SIGINT is PostgreSQL's fast shutdown: it does not wait for clients.
    func stop() { process.stop(SIGINT) }
}
