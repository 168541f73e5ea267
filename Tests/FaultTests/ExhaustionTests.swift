import Foundation
import Testing
import Transport

@testable import IntegrationTesting

extension Faults {
    /// Descriptors that run out: in a worker, and on their way to one.
    @Suite(.serialized, .needs("cc", "prlimit", "setpriv"))
    struct ExhaustionTests {
        @Test("T3: a worker whose table of descriptors is full (MSG_CTRUNC) refuses, and others serve")
        func fullTable() throws {
            let echo = try Ringmaster("echo", "--listen", "127.0.0.1:0", "--workers", "2")
            defer { echo.kill() }
            let early = try FaultLoad(.hold, echo.address, ["connections": 100, "interval": 100])
            defer { early.kill() }
            try early.wait(for: "every connection") { $0.messages >= 100 }
            let victim = try #require(echo.workers.first)
            let room = 5
            let limit = ProcessTable.descriptors(of: victim).count + room
            _ = try ChildProcess.succeed("prlimit", ["--pid", "\(victim)", "--nofile=\(limit):"])
            let late = try FaultLoad(.hold, echo.address, ["connections": 600, "interval": 100])
            let churn = try FaultLoad(.churn, echo.address, ["rate": 2000, "messages": 2, "total": 4000])
            let loads = [early, late, churn]
            defer { for load in loads { load.kill() } }
            try late.wait(for: "every connection") { $0.live == 600 && $0.messages >= 1200 }
            try churn.wait(for: "every connection") { $0.completed == 4000 }
            let summaries = try loads.map { try $0.finish() }
            let log = try echo.stopped(afterAdopting: 4700)
            #expect(log.count(of: "worker had no descriptors left") > 0)
            #expect(summaries.map(\.completed) == [100, 600, 4000])
            let toll = Toll("T3", injected: "a worker with \(room) descriptors left", summaries)
            #expect(toll.lostOtherwise == 0, "\(summaries)\n\(loads.map(\.failures))")
            try toll.record()
        }

        @Test(
            "T4: too many descriptors in flight for the user (ETOOMANYREFS): connections wait, and all are served",
            .enabled(if: getuid() == 0, "needs root, to become a user without rights"))
        func tooManyInFlight() throws {
            let asNobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]
            let limit = 256
            let directory = try TemporaryDirectory()
            let binary = directory.path("ringmaster")
            try FileManager.default.copyItem(atPath: Ringmaster.binary, toPath: binary)
            let echo = try Ringmaster(
                arguments: ["echo", "--listen", "127.0.0.1:0", "--workers", "2"], binary: binary,
                launcher: asNobody + Ringmaster.descriptorLimit(limit))
            defer { echo.kill() }
            let holder = try ChildProcess(
                asNobody[0], asNobody[1...] + [Fixture.inflight.get(), "\(limit + 10)"])
            defer { holder.kill() }
            try wait(for: "descriptors in flight: \(holder.errors)") { holder.output.contains("holding") }
            let load = try FaultLoad(
                .churn, echo.address, ["rate": 500, "connections": 100, "messages": 2, "total": 1000])
            defer { load.kill() }
            let stuck = try load.wait(for: "as many begun as may be") { $0.started == 100 }
            #expect(stuck.completed == 0, "the hand-off was to fail")
            // The supervisor tries again every millisecond: some hundred times in this half second.
            let end = MonotonicTime.now + .milliseconds(500)
            try wait(for: "some tries") { MonotonicTime.now > end }
            #expect(try load.summary().completed == 0)
            holder.kill()
            try load.wait(for: "every connection") { $0.completed == 1000 }
            let summary = try load.finish()
            _ = try echo.stopped(afterAdopting: 1000)
            let toll = Toll("T4", injected: "ETOOMANYREFS for half a second", [summary])
            #expect(toll.lostOtherwise == 0, "\(summary)\n\(load.failures)")
            try toll.record()
            withExtendedLifetime(directory) {}
        }
    }
}
