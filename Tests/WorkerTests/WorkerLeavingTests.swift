import Foundation
import Handoff
import Testing
import Transport

@testable import Worker

@Suite("worker process: leaving")
struct WorkerLeavingTests {
    private func worker(serving count: Int, orphanGrace: Duration = .seconds(60)) throws -> WorkerThread {
        let worker = try WorkerThread.ready(orphanGrace: orphanGrace)
        try worker.sendConnections(count)
        try worker.service.state.wait(for: "the connections") { $0.served.count == count }
        return worker
    }

    @Test("told to drain with no connection open, it leaves at once")
    func drainEmpty() throws {
        let worker = try WorkerThread.ready()
        worker.send(.drain(milliseconds: 60_000, migrationsPerSecond: 0))
        #expect(try worker.nextPacket() == .drained(forced: 0))
        #expect(try worker.exitCode() == .success)
    }

    @Test(
        "what was sent behind the packet that makes it leave is not adopted: another worker can have it",
        arguments: [Packet.drain(milliseconds: 60_000, migrationsPerSecond: 0), .stop])
    func sentTooLate(packet: Packet) throws {
        let worker = try WorkerThread()
        // All there before the worker runs, so that it finds both in one turn.
        worker.send(packet)
        try worker.sendConnections(2)
        worker.start()
        #expect(try worker.exitCode() == .success)
        #expect(try worker.reading().adopted == 0)
        #expect(worker.service.state.value.served.isEmpty)
    }

    @Test("told to drain, it has no credit, tells its service, and leaves when the last connection has ended")
    func drainWithConnections() throws {
        let worker = try worker(serving: 2)
        worker.send(.drain(milliseconds: 60_000, migrationsPerSecond: 0))
        try worker.service.state.wait(for: "the service to drain") { $0.drains.count == 1 }
        try eventually("the credit to go") { try worker.reading().credit == 0 }
        // One more was on its way when the supervisor decided: it is served.
        try worker.sendConnections(1)
        try worker.service.state.wait(for: "the late connection") { $0.served.count == 3 }
        #expect(try worker.reading().credit == 0)
        try worker.service.endConnections(2)
        try eventually("two to have ended") { try worker.reading().live == 1 }
        #expect(worker.isRunning)
        try worker.service.endConnections(1)
        #expect(try worker.nextPacket() == .drained(forced: 0))
        #expect(try worker.exitCode() == .success)
        #expect(worker.service.state.value.closeAlls == 0)
        #expect(worker.count(.forcedClose) == 0)
        #expect(try worker.reading().live == 0)
    }

    @Test(
        "what is left at the drain's deadline is cut and counted", arguments: [[100], [60_000, 100], [100, 60_000]])
    func deadline(milliseconds: [UInt32]) throws {
        let worker = try worker(serving: 3)
        try worker.service.endConnections(1)
        try eventually("one to have ended") { try worker.reading().live == 2 }
        let begin = MonotonicTime.now
        for grace in milliseconds { worker.send(.drain(milliseconds: grace, migrationsPerSecond: 0)) }
        #expect(try worker.nextPacket() == .drained(forced: 2), "the earlier deadline counts")
        #expect(MonotonicTime.now - begin >= .milliseconds(100))
        #expect(try worker.exitCode() == .success)
        #expect(worker.count(.forcedClose) == 2)
        #expect(worker.count(.closed) == 3)
        #expect(worker.service.state.value.closeAlls == 1)
    }

    @Test("told to stop, it cuts everything and leaves, also while draining", arguments: [false, true])
    func stop(afterDrain: Bool) throws {
        let worker = try worker(serving: 2)
        if afterDrain { worker.send(.drain(milliseconds: 60_000, migrationsPerSecond: 0)) }
        worker.send(.stop)
        #expect(try worker.nextPacket() == .drained(forced: 2))
        #expect(try worker.exitCode() == .success)
        #expect(worker.count(.forcedClose) == 2)
        #expect(try worker.reading().live == 0)
    }

    @Test("without its supervisor it leaves with exit code 9: at once when it has no connection")
    func orphanedEmpty() throws {
        let worker = try WorkerThread.ready()
        worker.vanish()
        #expect(try worker.exitCode() == .orphaned)
    }

    @Test("without its supervisor it adopts what was sent, drains, and leaves with exit code 9")
    func orphanedWithConnections() throws {
        let worker = try worker(serving: 1)
        try worker.sendConnections(1)
        worker.vanish()
        let state = try worker.service.state.wait(for: "the service to drain") { $0.drains.count == 1 }
        #expect(state.served.count == 2)
        #expect(worker.isRunning)
        try worker.service.endConnections(2)
        #expect(try worker.exitCode() == .orphaned)
        #expect(worker.count(.forcedClose) == 0)
    }

    @Test("without its supervisor it drains no longer than its grace")
    func orphanedDeadline() throws {
        let worker = try worker(serving: 2, orphanGrace: .milliseconds(100))
        worker.vanish()
        #expect(try worker.exitCode() == .orphaned)
        #expect(worker.count(.forcedClose) == 2)
    }

    @Test("a supervisor that vanishes while the worker drains does not change the exit code")
    func orphanedWhileDraining() throws {
        let worker = try worker(serving: 1)
        worker.send(.drain(milliseconds: 60_000, migrationsPerSecond: 0))
        try worker.service.state.wait(for: "the service to drain") { $0.drains.count == 1 }
        worker.vanish()
        try worker.service.state.wait(for: "the service to drain again") { $0.drains.count == 2 }
        try worker.service.endConnections(1)
        #expect(try worker.exitCode() == .success)
    }

    @Test("an operator's SIGTERM and SIGQUIT drain it", arguments: [SIGTERM, SIGQUIT])
    func drainSignal(signal: Int32) throws {
        let worker = try worker(serving: 1)
        try worker.signal(signal)
        try worker.service.state.wait(for: "the service to drain") { $0.drains.count == 1 }
        #expect(worker.isRunning)
        try worker.service.endConnections(1)
        #expect(try worker.nextPacket() == .drained(forced: 0))
        #expect(try worker.exitCode() == .success)
    }

    @Test("an operator's SIGINT cuts everything")
    func cutSignal() throws {
        let worker = try worker(serving: 1)
        try worker.signal(SIGINT)
        #expect(try worker.nextPacket() == .drained(forced: 1))
        #expect(try worker.exitCode() == .success)
    }

    @Test("a supervisor that vanishes before it has read the rejections is noticed all the same")
    func orphanedWithRejections() throws {
        let worker = try WorkerThread()
        try worker.fillRejections()
        worker.start(orphanGrace: .seconds(60))
        try worker.expectHello()
        #expect(try worker.nextPacket() == .ready)
        worker.vanish()
        #expect(try worker.exitCode() == .orphaned)
    }

    @Test("a supervisor that vanishes is noticed once, also by a worker that was to look again soon")
    func orphanedOnce() throws {
        let worker = try WorkerThread()
        try worker.fillRejections()
        worker.start(orphanGrace: .seconds(60))
        try worker.expectHello()
        #expect(try worker.nextPacket() == .ready)
        // It takes nothing while it could not reject it, and looks again each millisecond.
        try worker.sendConnections(1, first: worker.adopted)
        usleep(10_000)
        worker.vanish()
        try worker.service.state.wait(for: "the service to drain") { $0.drains.count == 1 && $0.served.count == 1 }
        // Were it to look again, it would do so meanwhile.
        usleep(50_000)
        try worker.service.endConnections(1)
        #expect(try worker.exitCode() == .orphaned)
        #expect(worker.service.state.value.drains.count == 1)
        #expect(worker.log.lines.value == ["warning: the supervisor has vanished: draining grace=60.0 seconds"])
    }
}
