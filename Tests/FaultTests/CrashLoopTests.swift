import Foundation
import Testing
import Transport

@testable import IntegrationTesting

extension Faults {
    /// Workers that abort as soon as they start.
    @Suite(.serialized, .needs("cc"))
    struct CrashLoopTests {
        private static let logBytesPerMinuteMax = 100_000

        @Test("T8: if every worker aborts at boot, the supervisor gives up with exit code 3 and few words")
        func atStart() throws {
            let sabotage = try Sabotage()
            try sabotage.abortAtBoot()
            let process = try Ringmaster.run(
                ["echo", "--listen", "127.0.0.1:0", "--workers", "4"], environment: try sabotage.environment)
            #expect(process.poll() == .exited(3), "\(process.errors)")
            #expect(process.errors.contains("signal 6"), "\(process.errors)")
            #expect(process.errors.utf8.count < Self.logBytesPerMinuteMax)
        }

        @Test("T8: in a crash loop the surviving worker serves, and the log stays below 100 KB a minute")
        func whileServing() throws {
            let seconds = 15
            let sabotage = try Sabotage()
            let pool = try Pool(
                ["echo", "--listen", "127.0.0.1:0", "--workers", "4"], environment: sabotage.environment)
            let echo = pool.ringmaster
            defer { echo.kill() }
            try sabotage.abortAtBoot()
            let workers = echo.workers
            let load = try FaultLoad(.churn, echo.address, ["rate": 1000, "messages": 2])
            defer { load.kill() }
            let before = echo.process.errors.utf8.count
            for worker in workers.dropFirst() { kill(worker, SIGKILL) }
            let begun = try load.summary().completed
            let end = MonotonicTime.now + .seconds(seconds)
            try wait(for: "the window to pass") { MonotonicTime.now > end }
            let bytes = echo.process.errors.utf8.count - before
            #expect(bytes > 0)
            #expect(bytes < Self.logBytesPerMinuteMax * seconds / 60, "\(echo.process.errors)")
            #expect(echo.workers.contains(workers[0]))
            #expect(try pool.status().lastWords.contains { $0.text.contains("the fault suite aborts this worker") })
            let summary = try load.finish()
            #expect(summary.completed > begun)
            let log = try echo.stopped()
            let killed = log.fields(of: "worker died").compactMap { $0["lost"].flatMap { Int($0) } }
            let toll = Toll(
                "T8", injected: "3 of 4 workers killed, and their successors abort at boot", [summary],
                adoptedByTheDead: killed.reduce(0, +))
            #expect(toll.lostOtherwise == 0, "\(summary)\n\(load.failures)")
            try toll.record()
        }
    }
}
