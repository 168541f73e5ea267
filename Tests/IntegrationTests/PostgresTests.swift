import Foundation
import Testing
import Transport

/// A PostgreSQL server on a Unix-domain socket, without durability. It refuses to run as root, so root lends it to
/// the user that Debian's package makes.
private final class PostgresServer {
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

extension Integration {
    @Suite(.serialized, .needs("initdb", "postgres", "pg_isready", "pgbench", "setpriv"))
    struct PostgresTests {
        @Test("pgbench fills a database and runs both of its loads through the proxy without a failed transaction")
        func pgbench() throws {
            let postgres = try PostgresServer()
            defer { postgres.stop() }
            let proxy = try Ringmaster(
                "proxy", "--listen", "127.0.0.1:0", "--upstream", "unix:\(postgres.socketPath)", "--workers", "2")
            defer { proxy.kill() }
            let server = ["-h", "127.0.0.1", "-p", "\(proxy.address.port!)", "-U", "postgres"]

            let filled = try ChildProcess.succeed(
                "pgbench", server + ["-i", "-s", "1", "postgres"], within: .seconds(60))
            #expect(filled.contains("done in"))
            for load in [["-S"], [], ["-S", "-C"]] {
                let output = try ChildProcess.succeed(
                    "pgbench", server + load + ["-c", "8", "-T", "3", "postgres"], within: .seconds(60))
                #expect(output.contains("number of failed transactions: 0 (0.000%)"), "\(load): \(output)")
                #expect(!output.contains("number of transactions actually processed: 0\n"), "\(load): \(output)")
                #expect(!output.contains("error:"), "\(load): \(output)")
            }
        }
    }
}
