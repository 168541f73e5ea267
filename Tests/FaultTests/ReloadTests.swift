import Foundation
import Testing
import Transport

@testable import IntegrationTesting

extension Faults {
    @Suite(.serialized, .needs("cc"))
    struct ReloadTests {
        private static func configuration(_ port: UInt16, workers: Int) -> (_ control: String) -> String {
            { control in
                """
                workers: \(workers)
                control: \(control)
                listeners:
                  - listen: 127.0.0.1:\(port)
                    service: echo
                """
            }
        }

        @Test(
            "T5: reloads one after the other under load: no connection is lost, and those that stay are moved each time"
        )
        func reloads() throws {
            let port = try Placeholder.freePort()
            let pool = try Pool(configuration: Self.configuration(port, workers: 2))
            defer { pool.kill() }
            let traffic = try Traffic(pool.address)
            defer { traffic.kill() }
            let end = MonotonicTime.now + .seconds(Faults.seconds(default: 10))
            var count = 0
            while MonotonicTime.now < end || count < 3 {
                try pool.configure(Self.configuration(port, workers: 2 + count % 2))
                try pool.succeed("reload")
                count += 1
            }
            try traffic.waitForProgress()
            let summaries = try traffic.finish()
            let status = try pool.settle()
            #expect(status.pool.counters["replacements"] == count)
            // The connections that stay, at each reload but for those that the last one still moves.
            #expect(status.pool.moves >= (count - 1) * 200)
            _ = try pool.ringmaster.stopped(
                afterAdopting: summaries.reduce(0) { $0 + $1.started }, moves: status.pool.moves)
            let toll = Toll("T5", injected: "\(count) reloads, one after the other", summaries)
            #expect(toll.lostOtherwise == 0, "\(summaries)\n\(traffic.failures)")
            try toll.record()
        }

        @Test("T5: a file that is wrong and workers that will not start leave everything as it is")
        func rollsBack() throws {
            let port = try Placeholder.freePort()
            let sabotage = try Sabotage()
            let pool = try Pool(
                configuration: Self.configuration(port, workers: 2), environment: sabotage.environment)
            defer { pool.kill() }
            let traffic = try Traffic(pool.address)
            defer { traffic.kill() }
            let workers = pool.workers

            try pool.configure { Self.configuration(port, workers: 2)($0) + "\nworkerz: 3\n" }
            let refused = try pool.run("reload")
            #expect(refused.poll() == .exited(1))
            #expect((refused.output + refused.errors).contains("workerz"), "\(refused.output)\(refused.errors)")

            try pool.configure(Self.configuration(port, workers: 2))
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
