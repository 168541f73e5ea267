import Foundation
import Testing
import Transport

@testable import IntegrationTesting

extension Faults {
    @Suite(.serialized, .needs("cc"))
    struct DrainTests {
        /// As many as this process's limit of open files lets a client and a worker have, up to 10,000.
        private static let idleCount: Int = {
            var limit = rlimit()
            getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
            return min(10_000, Int(clamping: limit.rlim_cur) - 200)
        }()

        @Test("T7: with 10,000 idle connections a reload and a scale-down move every one; none is reset or closed")
        func idleConnections() throws {
            let count = Self.idleCount
            let pool = try Pool(["echo", "--listen", "127.0.0.1:0", "--workers", "2"])
            defer { pool.kill() }
            let load = try FaultLoad(.hold, pool.address, ["connections": count, "timeout": 60_000])
            defer { load.kill() }
            try load.wait(for: "every connection", within: .seconds(60)) { $0.resting == count }
            let old = Set(pool.workers)
            try pool.succeed("reload")
            try wait(for: "the old workers to leave", within: .seconds(90)) {
                old.isDisjoint(with: pool.workers)
            }
            #expect(try pool.settle().pool.moves == count)
            try pool.succeed("scale", "1")
            try wait(for: "one worker to leave", within: .seconds(90)) { pool.workers.count == 1 }
            let status = try pool.settle()
            #expect(status.pool.workers.first?.live == count)
            // Each says one more word and hears it: not only is it open, it is served.
            let summary = try load.finish()
            #expect(summary.completed == count)
            let moves = status.pool.moves
            _ = try pool.ringmaster.stopped(afterAdopting: count, moves: moves)
            let toll = Toll("T7", injected: "reload and scale-down: \(moves) idle connections moved", [summary])
            #expect(toll.lostOtherwise == 0, "\(summary)\n\(load.failures)")
            try toll.record()
        }

        @Test("scaling 2 to 4 to 1 by SIGTTIN and SIGTTOU under load loses nothing")
        func scales() throws {
            let pool = try Pool(["echo", "--listen", "127.0.0.1:0", "--workers", "2"])
            defer { pool.kill() }
            let traffic = try Traffic(pool.address)
            defer { traffic.kill() }
            for (signal, counts) in [(SIGTTIN, [3, 4]), (SIGTTOU, [3, 2, 1])] {
                for count in counts {
                    pool.ringmaster.process.signal(signal)
                    try wait(for: "\(count) workers\n\(pool.ringmaster.process.errors)", within: .seconds(90)) {
                        let status = try pool.status()
                        return status.pool.wanted == count && status.isComplete
                    }
                    try traffic.waitForProgress()
                }
            }
            #expect(pool.workers.count == 1)
            let summaries = try traffic.finish()
            let moves = try pool.settle().pool.moves
            _ = try pool.ringmaster.stopped(afterAdopting: summaries.reduce(0) { $0 + $1.started }, moves: moves)
            let toll = Toll("scale", injected: "2 → 4 → 1 workers by SIGTTIN and SIGTTOU", summaries)
            #expect(toll.lostOtherwise == 0, "\(summaries)\n\(traffic.failures)")
            try toll.record()
        }
    }
}
