import Foundation
import Testing
import Transport

@testable import IntegrationTesting

extension Integration {
    @Suite(.serialized)
    struct SupervisorDeathTests {
        @Test("killed after an upgrade: its workers leave, those with nothing to do at once, and nobody lingers")
        func afterUpgrade() throws {
            let pool = try Pool(["echo", "--listen", "127.0.0.1:0", "--workers", "2", "--grace", "60"])
            defer { pool.kill() }
            try pool.succeed("upgrade")
            try pool.settle()
            let workers = pool.workers
            #expect(workers.count == 2)
            defer { for worker in workers where ProcessTable.isRunning(worker) { kill(worker, SIGKILL) } }
            // A connection for one of them.
            let client = try pool.ringmaster.connect()
            #expect(try client.echoes("before"))
            pool.ringmaster.process.signal(SIGKILL)
            #expect(try pool.ringmaster.process.waitForEnd() == .signalled(SIGKILL))
            // Far less than the grace.
            try wait(for: "one of \(workers) to leave") { workers.count(where: ProcessTable.isRunning) < 2 }
            client.close()
            try wait(for: "\(workers) to leave") { !workers.contains(where: ProcessTable.isRunning) }
        }
    }
}
