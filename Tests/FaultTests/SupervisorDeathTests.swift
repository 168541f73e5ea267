import Foundation
import Testing
import Transport

@testable import IntegrationTesting

/// A `ringmaster` in a process that adopts its workers when they are orphans, and tells how they ended.
private final class Orphanage {
    let ringmaster: Ringmaster
    private let supervisor: pid_t
    let workers: [pid_t]

    init(_ arguments: String...) throws {
        ringmaster = try Ringmaster(arguments: arguments, launcher: [Fixture.orphanage.get()])
        supervisor = ProcessTable.children(of: ringmaster.process.pid).first ?? 0
        workers = ProcessTable.children(of: supervisor)
        guard supervisor > 0, !workers.isEmpty else { throw HarnessError("no supervisor, or no workers") }
    }

    func killSupervisor() { Glibc.kill(supervisor, SIGKILL) }

    /// Waits until no process is left, and returns how each worker ended.
    func endings() throws -> [String] {
        try ringmaster.process.waitForEnd(within: .seconds(60))
        let lines = ringmaster.process.output.split(separator: "\n")
        return workers.map { worker in
            lines.first { $0.hasPrefix("\(worker) ") }.map { String($0.drop { $0 != " " }.dropFirst()) } ?? "lingers"
        }
    }

    func kill() {
        let left = [supervisor] + workers
        ringmaster.process.kill()
        for pid in left where ProcessTable.isRunning(pid) { Glibc.kill(pid, SIGKILL) }
    }
}

extension Faults {
    @Suite(.serialized, .needs("cc"))
    struct SupervisorDeathTests {
        @Test(
            "the supervisor killed: its workers say FIN to idle connections, leave with exit code 9 and nobody lingers")
        func idleConnections() throws {
            let echo = try Orphanage("echo", "--listen", "127.0.0.1:0", "--workers", "3", "--grace", "20")
            defer { echo.kill() }
            let load = try FaultLoad(.hold, echo.ringmaster.address, ["connections": 300])
            defer { load.kill() }
            try load.wait(for: "every connection") { $0.resting == 300 }
            echo.killSupervisor()
            #expect(try echo.endings() == ["exit 9", "exit 9", "exit 9"])
            let summary = try load.finish()
            #expect(summary.closed == 300)
            let lost = summary.reset + summary.eof + summary.broken
            #expect(lost == 0, "\(summary)\n\(load.failures)")
            try Toll(
                "supervisor", injected: "kill -9 of the supervisor; \(summary.closed) idle connections got a FIN",
                connections: summary.started, lost: lost
            ).record()
        }

        @Test("the supervisor killed: connections that are at work end their work within the grace")
        func busyConnections() throws {
            let echo = try Ringmaster("echo", "--listen", "127.0.0.1:0", "--workers", "1")
            defer { echo.kill() }
            let proxy = try Orphanage(
                "proxy", "--listen", "127.0.0.1:0", "--upstream", "\(echo.address)", "--workers", "2", "--grace", "60")
            defer { proxy.kill() }
            let load = try FaultLoad(
                .bulk, proxy.ringmaster.address, ["connections": 8, "bytes": 1_000_000_000_000, "size": 10_000])
            defer { load.kill() }
            try load.wait(for: "bytes on every connection") { $0.live == 8 && $0.bytes > 0 }
            proxy.killSupervisor()
            let atDeath = try load.summary()
            #expect(atDeath.live == 8, "\(load.failures)")
            try load.wait(for: "bytes after the supervisor's death") { $0.bytes > atDeath.bytes }
            let summary = try load.finish()
            #expect(try proxy.endings() == ["exit 9", "exit 9"])
            #expect(summary.completed == 8)
            let toll = Toll("supervisor", injected: "kill -9 of the supervisor; proxied streams at work", [summary])
            #expect(toll.lostOtherwise == 0, "\(summary)\n\(load.failures)")
            try toll.record()
        }
    }
}
