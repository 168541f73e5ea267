import Foundation
import Handoff
import Testing
import Transport

@testable import Worker

@Suite("worker process: serving")
struct WorkerProcessTests {
    @Test("it says hello first, and ready when its service is; only then has it credit")
    func helloAndReady() throws {
        let worker = try WorkerThread(isReadyAtOnce: false)
        worker.start(connectionsMax: 5)
        try worker.expectHello()
        try eventually("a heartbeat") { try worker.reading().heartbeat != MonotonicTime(nanoseconds: 0) }
        #expect(try worker.reading().credit == 0)
        try worker.service.becomeReady()
        #expect(try worker.nextPacket() == .ready)
        #expect(try worker.reading().credit == 5)
        worker.send(.stop)
        #expect(try worker.nextPacket() == .drained(forced: 0))
        #expect(try worker.exitCode() == .success)
        #expect(try worker.nextPacket() == nil, "the socket is closed")
    }

    @Test("connections are adopted before the service has them, with what was recorded of each")
    func adopts() throws {
        let worker = try WorkerThread.ready(connectionsMax: 10)
        let clients = try worker.sendConnections(3)
        let state = try worker.service.state.wait(for: "the connections") { $0.served.count == 3 }
        #expect(state.adoptedWhenServed == [3, 3, 3], "all of the packet, before the first of it is served")
        #expect(state.served.map(\.listener) == [0, 1, 2])
        #expect(state.served.map(\.peer) == (0..<3).map { WorkerThread.record($0).peer })
        #expect(state.served.allSatisfy { $0.isShared && $0.acceptedAt == MonotonicTime(nanoseconds: 5) })
        #expect(state.served.allSatisfy { $0.sharedCopy?.isGone == false })
        #expect(try clients.map { try $0.byte() } == [0, 1, 2])

        let reading = try worker.reading()
        #expect(reading.adopted == 3 && reading.live == 3 && reading.credit == 7 && reading.rejected.isEmpty)
        try worker.service.endConnections(2)
        try eventually("two to have ended") { try worker.reading().live == 1 }
        #expect(try worker.reading().credit == 9)
        #expect(worker.count(.accepted) == 3)
        #expect(worker.count(.closed) == 2)
        worker.send(.stop)
        #expect(try worker.exitCode() == .success)
    }

    @Test("credit is used up by connections and given back by their ends; more than it allows are still adopted")
    func credit() throws {
        let worker = try WorkerThread.ready(connectionsMax: 3)
        var credits: [UInt32] = []
        for sent in 1...4 {
            try worker.sendConnections(1)
            try eventually("it to be adopted") { try worker.reading().adopted == sent }
            credits.append(try worker.reading().credit)
        }
        #expect(credits == [2, 1, 0, 0])
        #expect(try worker.reading().live == 4)
        try worker.service.endConnections(2)
        try eventually("credit") { try worker.reading().credit == 1 }
        worker.send(.stop)
        #expect(try worker.exitCode() == .success)
    }

    @Test("more packets than it takes in a turn are all taken, in order")
    func manyPackets() throws {
        let worker = try WorkerThread()
        for _ in 0..<40 { try worker.sendConnections(1) }
        worker.start()
        try worker.service.state.wait(for: "all connections") { $0.served.count == 40 }
        #expect(worker.service.state.value.adoptedWhenServed == (1...40).map { UInt64($0) })
        worker.send(.stop)
        #expect(try worker.exitCode() == .success)
    }

    @Test("the page goes on showing a heartbeat and what the service counts")
    func heartbeat() throws {
        let worker = try WorkerThread.ready()
        let first = try worker.reading().heartbeat
        worker.service.state.update { $0.statistics.bytesReceived = 11 }
        try eventually("the next heartbeat") { try worker.reading().heartbeat > first }
        try eventually("the count") { worker.count(.bytesReceived) == 11 }
        worker.send(.stop)
        #expect(try worker.exitCode() == .success)
    }

    @Test("what was counted since the last heartbeat is in the page when the worker has left")
    func lastCounts() throws {
        let worker = try WorkerThread.ready()
        worker.service.state.update {
            $0.statistics.bytesReceived = 11
            $0.statistics.bytesSent = 12
            $0.statistics.upstreamConnectFailures = 13
        }
        worker.send(.stop)
        #expect(try worker.exitCode() == .success)
        #expect(worker.count(.bytesReceived) == 11)
        #expect(worker.count(.bytesSent) == 12)
        #expect(worker.count(.upstreamConnectFailures) == 13)
    }

    @Test("a service that cannot start ends the worker with its own exit code, and the supervisor is told why")
    func serviceCannotStart() throws {
        let worker = try WorkerThread(failure: .atStart)
        try worker.sendConnections(1)
        worker.start()
        try worker.expectHello()
        #expect(
            try worker.nextPacket()
                == .failed(.serviceFailed, message: "the service cannot start: there is no bread"))
        #expect(try worker.exitCode() == .serviceFailed)
        #expect(try worker.reading().adopted == 0, "another worker can have the connection")
    }

    @Test("so does one that cannot go on")
    func serviceCannotGoOn() throws {
        let worker = try WorkerThread(failure: .onceReady)
        worker.start()
        try worker.expectHello()
        #expect(try worker.nextPacket() == .ready)
        #expect(
            try worker.nextPacket()
                == .failed(.serviceFailed, message: "the service cannot go on: there is no bread"))
        #expect(try worker.exitCode() == .serviceFailed)
    }
}

@Suite("worker process: a supervisor that makes no sense")
struct WorkerDistrustTests {
    @Test("a sequence number out of turn ends the worker, which adopts nothing more")
    func wrongSequence() throws {
        let worker = try WorkerThread()
        let wrong = try worker.sendConnections(1, first: 3)
        let right = try worker.sendConnections(1, first: 0)
        worker.start()
        try worker.expectHello()
        #expect(try worker.nextPacket() == .ready)
        #expect(
            try worker.nextPacket() == .failed(.internalError, message: "connection 3 came where 0 was next"))
        #expect(try worker.exitCode() == .internalError)
        #expect(try worker.reading().adopted == 0)
        #expect(worker.service.state.value.served.isEmpty)
        worker.vanish()
        #expect(try (wrong + right).map { try $0.byte() } == [nil, nil], "the sockets are closed, not leaked")
    }

    @Test("what is no packet ends the worker with exit code 1, and cuts what it has")
    func malformed() throws {
        let worker = try WorkerThread.ready()
        try worker.sendConnections(2)
        try worker.sendBytes(Array("GET / HTTP/1.1\r\n\r\n".utf8))
        guard case .failed(.internalError, let message) = try worker.nextPacket() else {
            Issue.record("the supervisor is not told")
            return
        }
        #expect(message.hasPrefix("the supervisor sent something that is no packet: "))
        #expect(try worker.exitCode() == .internalError)
        #expect(worker.count(.forcedClose) == 2)
        #expect(worker.count(.closed) == 2)
        #expect(worker.service.state.value.closeAlls == 1)
    }

    @Test(
        "a packet that only workers send ends the worker with exit code 1",
        arguments: [Packet.ready, .drained(forced: 0), .failed(.success, message: "")])
    func workersPacket(packet: Packet) throws {
        let worker = try WorkerThread.ready()
        worker.send(packet)
        #expect(
            try worker.nextPacket()
                == .failed(.internalError, message: "the supervisor sent a packet that only workers send"))
        #expect(try worker.exitCode() == .internalError)
    }
}
