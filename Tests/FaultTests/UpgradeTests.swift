import Foundation
import Testing
import Transport

@testable import IntegrationTesting

extension Faults {
    @Suite(.serialized, .needs("cc"))
    struct UpgradeTests {
        private static func pool(_ binary: BinaryCopy, environment: [String: String] = [:]) throws -> Pool {
            try Pool(
                ["echo", "--listen", "127.0.0.1:0", "--workers", "2"], binary: binary.path, environment: environment)
        }

        @Test("T6: three upgrades by SIGUSR2 under load: none refused, none reset, none lost, and the PID stays")
        func upgrades() throws {
            let binary = try BinaryCopy()
            let pool = try Self.pool(binary)
            defer { pool.kill() }
            let traffic = try Traffic(pool.address)
            defer { traffic.kill() }
            for number in 1...3 {
                try binary.replace()
                #expect(!binary.isRun(by: pool.ringmaster.process.pid))
                pool.ringmaster.process.signal(SIGUSR2)
                try wait(for: "upgrade \(number)\n\(pool.ringmaster.process.errors)") {
                    try binary.isRun(by: pool.ringmaster.process.pid)
                        && pool.status().pool.counters["replacements"] == number
                }
                try traffic.waitForProgress()
            }
            let summaries = try traffic.finish()
            let status = try pool.settle()
            #expect(status.pid == pool.ringmaster.process.pid)
            #expect(status.pool.moves >= 200)
            _ = try pool.ringmaster.stopped(
                afterAdopting: summaries.reduce(0) { $0 + $1.started }, moves: status.pool.moves)
            let toll = Toll("T6", injected: "3 upgrades of the binary by SIGUSR2", summaries)
            #expect(toll.lostOtherwise == 0, "\(summaries)\n\(traffic.failures)")
            try toll.record()
        }

        @Test(
            "T6: a new binary that does not work is rolled back: one that fails its check, one that fails after it",
            arguments: ["exit 1", "[ \"$1\" = check ] || exit 1"])
        func brokenBinary(_ script: String) throws {
            let binary = try BinaryCopy()
            let pool = try Self.pool(binary)
            defer { pool.kill() }
            let traffic = try Traffic(pool.address)
            defer { traffic.kill() }
            try binary.replace(script: "#!/bin/sh\n\(script)\n")
            let failed = try pool.run("upgrade")
            #expect(failed.poll() == .exited(1), "\(failed.output)\(failed.errors)")
            try traffic.waitForProgress()
            try check(pool, traffic, injected: "an upgrade to a binary that does not work: `\(script)`")
        }

        @Test("T6: a new binary whose workers abort at boot is rolled back, and the next one is taken")
        func brokenWorkers() throws {
            let sabotage = try Sabotage()
            let binary = try BinaryCopy()
            let pool = try Self.pool(binary, environment: sabotage.environment)
            defer { pool.kill() }
            let traffic = try Traffic(pool.address)
            defer { traffic.kill() }
            try binary.replace()
            try sabotage.abortAtBoot()
            let failed = try pool.run("upgrade")
            #expect(failed.poll() == .exited(1), "\(failed.output)\(failed.errors)")
            #expect(!binary.isRun(by: pool.ringmaster.process.pid))
            try traffic.waitForProgress()
            sabotage.letBoot()
            try pool.succeed("upgrade")
            #expect(binary.isRun(by: pool.ringmaster.process.pid))
            try check(pool, traffic, injected: "an upgrade whose workers abort at boot, and one that succeeds")
        }

        /// Nothing was lost, and the supervisor is the process that it was.
        private func check(_ pool: Pool, _ traffic: Traffic, injected: String) throws {
            let summaries = try traffic.finish()
            let status = try pool.settle()
            #expect(status.pid == pool.ringmaster.process.pid)
            _ = try pool.ringmaster.stopped(
                afterAdopting: summaries.reduce(0) { $0 + $1.started }, moves: status.pool.moves)
            let toll = Toll("T6", injected: injected, summaries)
            #expect(toll.lostOtherwise == 0, "\(summaries)\n\(traffic.failures)")
            try toll.record()
        }
    }
}
