import Foundation
import Testing
import Transport

@testable import IntegrationTesting

extension Faults {
    @Suite(.serialized, .needs("cc"))
    struct ReloadTests {
        @Test(
            "T5: reloads one after the other under load: no connection is lost, and those that stay are moved, full buffers and all",
            arguments: Served.Kind.allCases)
        func reloads(_ kind: Served.Kind) throws {
            let served = try Served(kind)
            defer { served.kill() }
            let pool = try Pool(configuration: served.configuration(workers: 2))
            defer { pool.kill() }
            let traffic = try Traffic(pool.address, churnRate: served.churnRate)
            defer { traffic.kill() }
            // Streams that are stuck move as they are: nobody could wait for them to come to rest.
            try traffic.bulk.withStopped {
                try pool.succeed("reload")
                #expect(try pool.settle().pool.moves >= traffic.held)
            }
            let end = MonotonicTime.now + .seconds(Faults.seconds(default: 10))
            var count = 1
            while MonotonicTime.now < end || count < 4 {
                try pool.configure(served.configuration(workers: 2 + count % 2))
                try pool.succeed("reload")
                count += 1
            }
            try traffic.waitForProgress()
            let summaries = try traffic.finish()
            let status = try pool.settle()
            #expect(status.pool.counters["replacements"] == count)
            // Two generations may drain at once, so a connection that stays may pass one over; and the last may still move.
            #expect(status.pool.moves >= (count / 3) * traffic.held)
            let connections = summaries.reduce(0) { $0 + $1.started }
            _ = try pool.ringmaster.stopped(afterAdopting: connections, moves: status.pool.moves)
            try served.expectUpstream(hadConnections: connections)
            let toll = Toll("T5", injected: "\(count) reloads, one after the other (\(kind))", summaries)
            #expect(toll.lostOtherwise == 0, "\(summaries)\n\(traffic.failures)")
            try toll.record()
        }

        @Test("T5: a file that is wrong and workers that will not start leave everything as it is")
        func rollsBack() throws {
            let served = try Served(.echo)
            let sabotage = try Sabotage()
            let pool = try Pool(configuration: served.configuration(workers: 2), environment: sabotage.environment)
            defer { pool.kill() }
            let traffic = try Traffic(pool.address)
            defer { traffic.kill() }
            let workers = pool.workers

            try pool.configure { served.configuration(workers: 2)($0) + "workerz: 3\n" }
            let refused = try pool.run("reload")
            #expect(refused.poll() == .exited(1))
            #expect((refused.output + refused.errors).contains("workerz"), "\(refused.output)\(refused.errors)")

            try pool.configure(served.configuration(workers: 2))
            try sabotage.abortAtBoot()
            let failed = try pool.run("reload")
            #expect(failed.poll() == .exited(1), "\(failed.output)\(failed.errors)")
            // The last of those that abort may still be on its way out.
            try wait(for: "the old workers alone") { pool.workers == workers }

            sabotage.letBoot()
            try pool.succeed("reload")
            let summaries = try traffic.finish()
            let status = try pool.settle()
            #expect(status.pool.counters["replacements"] == 1)
            #expect(status.pool.counters["rollBacks"] == 1)
            let toll = Toll("T5", injected: "reloads that fail: a wrong file, workers that abort at boot", summaries)
            #expect(toll.lostOtherwise == 0, "\(summaries)\n\(traffic.failures)")
            try toll.record()
        }
    }
}
