import Foundation
import Testing
import Transport

@testable import IntegrationTesting

extension Integration {
    @Suite(.serialized)
    struct ScaleTests {
        @Test("SIGTTIN adds a worker, SIGTTOU takes one away, down to one; every connection lives on")
        func signals() throws {
            let pool = try Pool(["echo", "--listen", "127.0.0.1:0", "--workers", "2"])
            defer { pool.kill() }
            let early = try Integration.connectAndEcho(20, to: pool.address)
            defer { early.closeAll() }
            for count in [3, 4] {
                pool.ringmaster.process.signal(SIGTTIN)
                try wait(for: "\(count) workers\n\(pool.ringmaster.process.errors)") {
                    let status = try pool.status()
                    return status.pool.wanted == count && status.isComplete
                }
            }
            #expect(pool.workers.count == 4)
            let late = try Integration.connectAndEcho(100, to: pool.address)
            defer { late.closeAll() }
            #expect(try pool.status().pool.workers.allSatisfy { $0.live > 0 }, "the new ones have their share")
            for count in [3, 2, 1] {
                pool.ringmaster.process.signal(SIGTTOU)
                try wait(for: "\(count) workers\n\(pool.ringmaster.process.errors)") {
                    try pool.status().pool.wanted == count
                }
            }
            for client in early + late { #expect(try client.echoes("still here")) }
            #expect(try pool.settle().pool.workers[0].live == 120)
            #expect(pool.workers.count == 1)
        }

        @Test("there is always a worker: less is refused")
        func atLeastOne() throws {
            let pool = try Pool(["echo", "--listen", "127.0.0.1:0", "--workers", "1"])
            defer { pool.kill() }
            pool.ringmaster.process.signal(SIGTTOU)
            try wait(for: "the refusal") { pool.ringmaster.process.errors.contains("there can be 1 to") }
            #expect(try pool.run("scale", "0").poll() != .exited(0))
            #expect(try pool.ringmaster.connect().echoes("hello"))
            #expect(try pool.status().pool.wanted == 1)
        }
    }
}
