import Foundation
import Testing
import Transport

@testable import IntegrationTesting

extension Faults {
    /// Workers that stop taking, and are there.
    @Suite(.serialized, .needs("cc"))
    struct HangTests {
        enum Hang: String, CaseIterable {
            case stopped = "SIGSTOP of a worker"
            case looping = "an endless loop in a worker"
        }

        @Test(
            "T2: a worker that hangs with connections in its hand-off queue is killed after --hang-timeout, and others serve them",
            arguments: Hang.allCases)
        func hang(_ hang: Hang) throws {
            let sabotage = try Sabotage()
            let pool = try Pool(
                ["echo", "--listen", "127.0.0.1:0", "--workers", "2", "--hang-timeout", "3"],
                environment: sabotage.environment)
            defer { pool.kill() }
            let early = try FaultLoad(.hold, pool.address, ["connections": 100])
            defer { early.kill() }
            try early.wait(for: "every connection") { $0.resting == 100 }
            let victim = try #require(pool.workers.first)
            switch hang {
            case .stopped: kill(victim, SIGSTOP)
            case .looping: Sabotage.hang(victim)
            }
            let late = try FaultLoad(.hold, pool.address, ["connections": 400])
            defer { late.kill() }
            try late.wait(for: "all but a queue answered") { $0.live == 400 && $0.resting >= 400 - Faults.queueMax }
            // It has no more than a second's worth of traffic: what comes now goes to the other.
            var queued = 0
            try wait(for: "the hang to be noticed") {
                guard let stalled = try pool.status().pool.workers.first(where: { $0.state == "stalled" }) else {
                    return false
                }
                queued = stalled.inflight
                return true
            }
            #expect(queued > 0)
            let churn = try FaultLoad(.churn, pool.address, ["rate": 500, "total": 500])
            defer { churn.kill() }
            try churn.wait(for: "every connection") { $0.completed == 500 }
            #expect(ProcessTable.isRunning(victim))
            try late.wait(for: "every connection answered") { $0.resting == 400 }
            let status = try pool.settle()
            #expect(status.pool.counters["hung"] == 1)
            if hang == .looping {
                let words = status.lastWords.first { $0.pid == victim }?.text ?? ""
                #expect(words.contains("loop_for_ever"), "the backtrace names the loop: \(words)")
            }
            let summaries = try [early, late, churn].map { try $0.finish() }
            let deaths = try pool.ringmaster.stopped(afterAdopting: 1000).deaths()
            #expect(deaths.count == 1)
            #expect(deaths.redelivered == queued)
            let toll = Toll(
                "T2", injected: "\(hang.rawValue) with \(deaths.redelivered) connections in its queue", summaries,
                adoptedByTheDead: deaths.lost)
            #expect(toll.lostOtherwise == 0, "\(summaries)\n\(deaths)")
            #expect(summaries[1].completed == 400)
            #expect(summaries[2].completed == 500)
            try toll.record()
        }
    }
}
