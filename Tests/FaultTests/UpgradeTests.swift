import Foundation
import Testing
import Transport

@testable import IntegrationTesting

/// A script in the binary's place, which is to be found out before it becomes the supervisor.
private enum BrokenBinary: String, CaseIterable {
    case failing = "that fails its check"
    case foreign = "of another program"

    var command: String {
        switch self {
        case .failing: "exit 1"
        case .foreign: "exit 0"
        }
    }

    var reason: String {
        switch self {
        case .failing: "exit code 1"
        case .foreign: "did not say that it can go on"
        }
    }
}

extension Faults {
    @Suite(.serialized, .needs("cc"))
    struct UpgradeTests {
        private static func pool(
            _ binary: BinaryCopy, _ service: [String] = ["echo"], environment: [String: String] = [:]
        ) throws -> Pool {
            try Pool(
                service + ["--listen", "127.0.0.1:0", "--workers", "2"], binary: binary.path, environment: environment)
        }

        @Test(
            "T6: three upgrades by SIGUSR2 under load: none refused, none reset, none lost, and the PID stays",
            arguments: Served.Kind.allCases)
        func upgrades(_ kind: Served.Kind) throws {
            let served = try Served(kind)
            defer { served.kill() }
            let binary = try BinaryCopy()
            let pool = try Self.pool(binary, served.arguments)
            defer { pool.kill() }
            let traffic = try Traffic(pool.address, churnRate: served.churnRate)
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
            let count = summaries.reduce(0) { $0 + $1.started }
            _ = try pool.ringmaster.stopped(afterAdopting: count, moves: status.pool.moves)
            try served.expectUpstream(hadConnections: count)
            let toll = Toll("T6", injected: "3 upgrades of the binary by SIGUSR2 (\(kind))", summaries)
            #expect(toll.lostOtherwise == 0, "\(summaries)\n\(traffic.failures)")
            try toll.record()
        }

        @Test(
            "T6: a new binary that does not work is refused: one that fails its check, one that is another program's",
            arguments: BrokenBinary.allCases)
        fileprivate func brokenBinary(_ broken: BrokenBinary) throws {
            let binary = try BinaryCopy()
            let pool = try Self.pool(binary)
            defer { pool.kill() }
            let traffic = try Traffic(pool.address)
            defer { traffic.kill() }
            try binary.replace(script: "#!/bin/sh\n\(broken.command)\n")
            let failed = try pool.run("upgrade")
            #expect(failed.poll() == .exited(1), "\(failed.output)\(failed.errors)")
            #expect((failed.output + failed.errors).contains(broken.reason), "\(failed.output)\(failed.errors)")
            try traffic.waitForProgress()
            try check(pool, traffic, injected: "an upgrade to a binary \(broken.rawValue)")
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
