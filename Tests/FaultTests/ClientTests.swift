import Foundation
import Testing
import Transport

@testable import IntegrationTesting

extension Faults {
    /// Programs of others, which know nothing of ours and end at the first connection that fails.
    @Suite(
        .serialized,
        .needs("initdb", "postgres", "pg_isready", "pgbench", "setpriv", "redis-server", "redis-cli", "redis-benchmark")
    )
    struct ClientTests {
        private static let clients = (postgres: 8, redis: 50)

        private static func configuration(
            _ postgres: PostgresServer, _ redis: RedisServer
        ) -> (_ control: String) -> String {
            { control in
                """
                workers: 2
                control: \(control)
                listeners:
                  - listen: 127.0.0.1:0
                    service: proxy
                    upstream: unix:\(postgres.socketPath)
                  - listen: 127.0.0.2:0
                    service: proxy
                    upstream: unix:\(redis.socketPath)
                """
            }
        }

        @Test(
            "pgbench and redis-benchmark run through the proxy during ten reloads, three upgrades and scaling 2 to 4 to 1 without an error or a reconnect"
        )
        func benchmarks() throws {
            let postgres = try PostgresServer()
            defer { postgres.stop() }
            let redis = try RedisServer()
            defer { redis.stop() }
            let binary = try BinaryCopy()
            let pool = try Pool(configuration: Self.configuration(postgres, redis), binary: binary.path)
            defer { pool.kill() }
            // Two addresses, so that each listener may have any port and stays the same one at a reload.
            let ports = pool.ringmaster.addresses.compactMap(\.port)
            try #require(ports.count == 2)

            let server = ["-h", "127.0.0.1", "-p", "\(ports[0])", "-U", "postgres"]
            _ = try ChildProcess.succeed("pgbench", server + ["-i", "-s", "1", "postgres"], within: .seconds(60))
            let pgbench = try ChildProcess(
                "pgbench", server + ["-n", "-S", "-c", "\(Self.clients.postgres)", "-T", "3600", "-P", "1", "postgres"])
            defer { pgbench.kill() }
            let redisBenchmark = try ChildProcess(
                "redis-benchmark",
                [
                    "-h", "127.0.0.2", "-p", "\(ports[1])", "-t", "get", "-n", "2000000000", "-c",
                    "\(Self.clients.redis)", "-q",
                ])
            defer { redisBenchmark.kill() }
            try waitForProgress(pgbench)
            try wait(for: "redis-benchmark to connect") {
                try redis.statistic("connected_clients") > Self.clients.redis
            }
            let connectionsBefore = try redis.statistic("total_connections_received")
            let questionsBefore = redis.questions

            for _ in 0..<10 { try pool.succeed("reload") }
            for _ in 0..<3 {
                try binary.replace()
                try pool.succeed("upgrade")
                #expect(binary.isRun(by: pool.ringmaster.process.pid))
            }
            for count in ["4", "1"] { try pool.succeed("scale", count) }
            try pool.settle()
            try waitForProgress(pgbench)
            let commandsBefore = try redis.statistic("total_commands_processed")
            // More than those by which this is asked.
            try wait(for: "redis-benchmark to go on") {
                try redis.statistic("total_commands_processed") > commandsBefore + 10_000
            }

            #expect(pgbench.poll() == nil, "\(pgbench.errors)")
            #expect(redisBenchmark.poll() == nil, "\(redisBenchmark.output)\(redisBenchmark.errors)")
            let progress = progress(pgbench)
            let failing = progress.filter { !$0.hasSuffix(" 0 failed") }
            #expect(failing.isEmpty)
            let words = (pgbench.errors + redisBenchmark.output + redisBenchmark.errors).lowercased()
            #expect(!words.contains("error"), "\(words)")
            let connections = try redis.statistic("total_connections_received")
            // Each question since then came by a connection of its own.
            let reconnects = connections - connectionsBefore - (redis.questions - questionsBefore)
            #expect(reconnects == 0)
            let status = try pool.status()
            #expect(status.pool.counters["replacements"] == 13)
            let aborted = pgbench.errors.ranges(of: "aborted").count
            try Toll(
                "clients", injected: "10 reloads, 3 upgrades, 2 → 4 → 1 workers under pgbench and redis-benchmark",
                connections: Self.clients.postgres + Self.clients.redis, lost: reconnects + aborted
            ).record()
        }

        /// The lines in which pgbench says each second how far it is.
        private func progress(_ pgbench: ChildProcess) -> [Substring] {
            pgbench.errors.split(separator: "\n").filter { $0.hasPrefix("progress: ") }
        }

        /// Waits until pgbench has said twice that it has done something.
        private func waitForProgress(_ pgbench: ChildProcess) throws {
            let before = progress(pgbench).count
            try wait(for: "pgbench:\n\(pgbench.errors)") {
                if let ending = pgbench.poll() { throw HarnessError("pgbench: \(ending)\n\(pgbench.errors)") }
                return progress(pgbench).dropFirst(before).count { !$0.contains(" 0.0 tps") } >= 2
            }
        }
    }
}
