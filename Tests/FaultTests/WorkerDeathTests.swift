import Foundation
import Testing
import Transport

@testable import IntegrationTesting

extension Faults {
    @Suite(.serialized, .needs("cc"))
    struct WorkerDeathTests {
        @Test("T1: a random worker killed every 100 ms: only connections that it had adopted are lost")
        func killedAtRandom() throws {
            // The restart policy allows two deaths per worker and minute before it waits; these stay below that.
            let (workers, kills) = (16, 40)
            let echo = try Ringmaster("echo", "--listen", "127.0.0.1:0", "--workers", "\(workers)")
            defer { echo.kill() }
            let load = try FaultLoad(
                .churn, echo.address, ["rate": 20_000, "connections": 2000, "messages": 2, "timeout": 20_000])
            defer { load.kill() }
            try load.wait(for: "begun") { $0.completed > 0 }
            for number in 0..<kills {
                usleep(100_000)
                guard let victim = echo.workers.randomElement() else { continue }
                // Equal deaths in a row are collapsed in the log, which then does not say what each has cost.
                kill(victim, number.isMultiple(of: 2) ? SIGKILL : SIGALRM)
            }
            let summary = try load.finish()
            let log = try echo.stopped(afterAdopting: summary.started)
            let deaths = try log.deaths()
            #expect(deaths.count > kills / 2)
            let toll = Toll(
                "T1", injected: "kill -9 of a random worker every 100 ms, \(deaths.count) times", [summary],
                adoptedByTheDead: deaths.lost)
            #expect(toll.lostOtherwise == 0, "\(summary) \(deaths)\n\(load.failures)")
            try toll.record()
        }

        @Test("T1: a worker killed with connections in its hand-off queue: others serve all of them")
        func killedWithQueue() throws {
            let pool = try Pool(["echo", "--listen", "127.0.0.1:0", "--workers", "2"])
            defer { pool.kill() }
            // A worker that stands still gets traffic for a second: nothing is compiled in it.
            _ = try Fixture.load.get()
            let victim = try #require(pool.workers.first)
            kill(victim, SIGSTOP)
            let load = try FaultLoad(.hold, pool.address, ["connections": 400])
            defer { load.kill() }
            try load.wait(for: "every connection but a queue answered") {
                $0.live == 400 && $0.resting >= 400 - Faults.queueMax
            }
            var queued = 0
            try wait(for: "every connection answered that is not in the queue of \(queued)") {
                let status = try pool.status()
                let slot = try #require(status.processes.first { $0.pid == victim }).slot
                queued = try #require(status.pool.workers.first { $0.slot == slot }).inflight
                return try load.summary().resting + queued == 400
            }
            #expect(queued > 0)
            kill(victim, SIGKILL)
            try load.wait(for: "every connection answered") { $0.resting == 400 }
            let summary = try load.finish()
            let deaths = try pool.ringmaster.stopped(afterAdopting: 400).deaths()
            #expect(deaths.count == 1)
            #expect(deaths.redelivered == queued)
            #expect(deaths.lost == 0)
            let toll = Toll(
                "T1", injected: "kill -9 of a worker with \(deaths.redelivered) connections in its queue", [summary])
            #expect(summary.completed == 400)
            #expect(toll.lostOtherwise == 0, "\(summary)\n\(load.failures)")
            try toll.record()
        }
    }
}
