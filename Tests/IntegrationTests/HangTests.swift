import Foundation
import Testing
import Transport

@testable import IntegrationTesting

extension Integration {
    /// Workers that are there and do nothing.
    @Suite(.serialized)
    struct HangTests {
        private static func slot(of worker: pid_t, _ status: Pool.Status) -> Int? {
            status.processes.first { $0.pid == worker }?.slot
        }

        private static func state(of worker: pid_t, _ pool: Pool) throws -> String? {
            let status = try pool.status()
            guard let slot = slot(of: worker, status) else { return nil }
            return status.pool.workers.first { $0.slot == slot }?.state
        }

        @Test("a stopped worker gets no connections until it goes on, and has lost none")
        func stalls() throws {
            let pool = try Pool(["echo", "--listen", "127.0.0.1:0", "--workers", "2", "--hang-timeout", "60"])
            defer { pool.kill() }
            let before = try Integration.connectAndEcho(20, to: pool.address)
            defer { before.closeAll() }
            let worker = pool.workers[0]
            kill(worker, SIGSTOP)
            defer { kill(worker, SIGCONT) }
            try wait(for: "the stall to be seen") { try Self.state(of: worker, pool) == "stalled" }
            // All at the other one, so that each is answered.
            let meanwhile = try Integration.connectAndEcho(50, to: pool.address)
            defer { meanwhile.closeAll() }
            kill(worker, SIGCONT)
            try wait(for: "the worker to be seen again") { try Self.state(of: worker, pool) == "ready" }
            for client in before + meanwhile { #expect(try client.echoes("still here")) }
            let after = try Integration.connectAndEcho(50, to: pool.address)
            defer { after.closeAll() }
            let status = try pool.status()
            #expect(status.pool.workers.map(\.live).reduce(0, +) == 120)
            let slot = try #require(Self.slot(of: worker, status))
            #expect(status.pool.workers.first { $0.slot == slot }?.live ?? 0 > 10, "it gets connections again")
            #expect(status.pool.counters["hung"] == 0)
        }

        @Test(
            "a worker that stays stopped for --hang-timeout is ended and replaced, and what it had not adopted is served"
        )
        func ends() throws {
            let pool = try Pool(["echo", "--listen", "127.0.0.1:0", "--workers", "1", "--hang-timeout", "2"])
            defer { pool.kill() }
            let worker = pool.workers[0]
            kill(worker, SIGSTOP)
            let clients = try (0..<10).map { _ in try pool.ringmaster.connect() }
            defer { clients.closeAll() }
            for client in clients { #expect(try client.echoes("hello")) }
            #expect(!ProcessTable.isRunning(worker))
            let status = try pool.settle()
            #expect(status.pool.counters["hung"] == 1)
            #expect(status.pool.counters["lost"] == 0)
            #expect(status.lastWords.first { $0.pid == worker }?.ending.hasPrefix("signal") == true)
        }
    }
}
