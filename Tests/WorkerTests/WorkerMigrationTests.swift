import Foundation
import Handoff
import Testing
import Transport

@testable import Worker

@Suite("worker process: giving connections away")
struct WorkerEmigrationTests {
    /// A worker that drains with migration; the clients' ends of what it serves.
    private static func draining(
        _ count: Int, movable: Int, milliseconds: UInt32 = 60_000, perSecond: UInt32 = 1_000_000,
        orphanGrace: Duration = .seconds(60)
    ) throws -> (WorkerThread, [ClientEnd]) {
        let worker = try WorkerThread.ready(connectionsMax: 200, orphanGrace: orphanGrace)
        let clients = try worker.sendConnections(count)
        for (number, client) in clients.enumerated() {
            #expect(try client.byte() == UInt8(truncatingIfNeeded: number))
        }
        worker.service.state.update { $0.movable = movable }
        worker.send(.drain(milliseconds: milliseconds, migrationsPerSecond: perSecond))
        return (worker, clients)
    }

    @Test("all of its connections are offered, and when all are taken it leaves; no client notices")
    func taken() throws {
        try DescriptorTable.leavingNothing {
            let (worker, clients) = try Self.draining(3, movable: 3)
            let offers = try (0..<3).map { _ in try worker.nextOffer() }
            #expect(offers.map(\.number) == [0, 1, 2])
            #expect(offers.map(\.connection.record) == (0..<3).map(WorkerThread.record))
            #expect(offers.allSatisfy { $0.connection.socketCount == 1 && $0.fds.count == 1 })
            #expect(offers.allSatisfy { $0.connection.state == Array("state".utf8) })
            #expect(try worker.reading().live == 3, "they are its own until they are taken")
            for offer in offers { worker.send(.offerTaken(number: offer.number)) }
            #expect(try worker.nextPacket() == .drained(forced: 0))
            #expect(try worker.exitCode() == .success)
            #expect(worker.count(.migratedAway) == 3)
            #expect(worker.count(.closed) == 3)
            #expect(worker.count(.forcedClose) == 0)
            #expect(try worker.reading().live == 0)
            #expect(worker.log.lines.value == ["info: connections moved count=3"])
            #expect(worker.service.state.value.drains.isEmpty, "nothing was ended as idle")
            for (offer, client) in zip(offers, clients) {
                var byte: UInt8 = 77
                #expect(write(offer.fds[0], &byte, 1) == 1)
                #expect(try client.byte() == 77, "the connection lives in the supervisor's copy")
            }
        }
    }

    @Test("one that nobody has room for is served on, and is offered again a quarter of a second later")
    func refused() throws {
        try DescriptorTable.leavingNothing {
            let (worker, clients) = try Self.draining(1, movable: 1)
            let first = try worker.nextOffer()
            worker.service.state.update { $0.movable = 1 }
            let begin = MonotonicTime.now
            worker.send(.offerRefused(number: first.number))
            try worker.service.state.wait(for: "it to be served on") { $0.thawed == [Array("state".utf8)] }
            #expect(try worker.reading().live == 1)
            let second = try worker.nextOffer()
            #expect(MonotonicTime.now - begin >= MigrationPacer.refusalRest)
            #expect(second.number == 1)
            #expect(worker.count(.migrationsRefused) == 1)
            worker.send(.offerTaken(number: 1))
            #expect(try worker.nextPacket() == .drained(forced: 0))
            #expect(try worker.exitCode() == .success)
            #expect(worker.count(.migratedAway) == 1)
            _ = clients
        }
    }

    @Test("no more than 64 offers wait for an answer")
    func bounded() throws {
        try DescriptorTable.leavingNothing {
            let worker = try WorkerThread.ready(connectionsMax: 200)
            for _ in 0..<7 { try worker.sendConnections(10) }
            try worker.service.state.wait(for: "the connections") { $0.served.count == 70 }
            worker.service.state.update { $0.movable = 70 }
            worker.send(.drain(milliseconds: 60_000, migrationsPerSecond: 1_000_000))
            var numbers: [UInt32] = []
            for _ in 0..<64 { numbers.append(try worker.nextOffer().number) }
            #expect(!worker.speaks(withinMilliseconds: 100))
            worker.send(.offerTaken(number: 5))
            numbers.append(try worker.nextOffer().number)
            #expect(!worker.speaks(withinMilliseconds: 50))
            for number in 0..<65 where number != 5 { worker.send(.offerTaken(number: UInt32(number))) }
            for _ in 65..<70 {
                let number = try worker.nextOffer().number
                numbers.append(number)
                worker.send(.offerTaken(number: number))
            }
            #expect(numbers == Array(0..<70))
            #expect(try worker.nextPacket() == .drained(forced: 0))
            #expect(try worker.exitCode() == .success)
        }
    }

    @Test("a supervisor that vanishes has not taken what it has not answered: it is served on and drained")
    func vanishing() throws {
        try DescriptorTable.leavingNothing {
            let (worker, clients) = try Self.draining(3, movable: 3, orphanGrace: .seconds(4))
            let offers = try (0..<3).map { _ in try worker.nextOffer() }
            worker.send(.offerTaken(number: 1))
            try eventually("one to have moved") { worker.count(.migratedAway) == 1 }
            worker.vanish()
            let state = try worker.service.state.wait(for: "the service to drain") { !$0.drains.isEmpty }
            #expect(state.drains == [.seconds(1)])
            #expect(state.thawed.count == 2)
            #expect(state.served.map(\.listener).sorted() == [0, 2])
            #expect(worker.isRunning)
            try worker.service.endConnections(2)
            #expect(try worker.exitCode() == .success, "it was told to drain before")
            #expect(worker.count(.forcedClose) == 0)
            #expect(worker.count(.migratedAway) == 1)
            withExtendedLifetime((offers, clients)) {}
        }
    }

    @Test(
        "what cannot move is asked to end when idle, once, and is cut at the deadline; both are counted, and logged in one line"
    )
    func deadline() throws {
        try DescriptorTable.leavingNothing {
            let (worker, clients) = try Self.draining(3, movable: 1, milliseconds: 5_000)
            let offer = try worker.nextOffer()
            worker.send(.offerTaken(number: offer.number))
            #expect(try worker.nextPacket() == .drained(forced: 2))
            #expect(try worker.exitCode() == .success)
            #expect(worker.count(.forcedClose) == 2)
            #expect(worker.count(.migratedAway) == 1)
            #expect(worker.count(.closed) == 3)
            #expect(worker.service.state.value.drains == [.zero])
            #expect(
                worker.log.lines.value == ["warning: connections cut count=2", "info: connections moved count=1"])
            #expect(try clients[1].byte() == nil)
            withExtendedLifetime(offer) {}
        }
    }

    @Test("an offer without an answer at the deadline is not counted as cut: the supervisor may save it yet")
    func unansweredAtTheDeadline() throws {
        try DescriptorTable.leavingNothing {
            let (worker, clients) = try Self.draining(2, movable: 1, milliseconds: 5_000)
            let offer = try worker.nextOffer()
            #expect(try worker.nextPacket() == .drained(forced: 1))
            #expect(try worker.exitCode() == .success)
            #expect(worker.count(.forcedClose) == 1)
            #expect(worker.count(.closed) == 1)
            #expect(try worker.reading().live == 1)
            var byte: UInt8 = 77
            #expect(write(offer.fds[0], &byte, 1) == 1)
            #expect(try clients[0].byte() == 77)
        }
    }

    @Test(
        "told to drain without migration, nothing is offered, and the idle are ended over a quarter of the time",
        arguments: [
            (8_000 as UInt32, Duration.seconds(2)), (4_000, .seconds(1)), (60_000, .seconds(2)), (0, .zero),
        ])
    func withoutMigration(milliseconds: UInt32, spread: Duration) throws {
        try DescriptorTable.leavingNothing {
            let (worker, clients) = try Self.draining(1, movable: 1, milliseconds: milliseconds, perSecond: 0)
            let state = try worker.service.state.wait(for: "the service to drain") { !$0.drains.isEmpty }
            #expect(state.drains == [spread] && state.movable == 1)
            try worker.service.endConnections(1)
            guard case .drained = try worker.nextPacket() else {
                Issue.record("it says something else")
                return
            }
            #expect(try worker.exitCode() == .success)
            _ = clients
        }
    }

    @Test("told to stop migrating, it offers nothing more and drains; a late answer still counts")
    func migrationEnds() throws {
        try DescriptorTable.leavingNothing {
            let (worker, clients) = try Self.draining(2, movable: 1)
            let offer = try worker.nextOffer()
            worker.send(.drain(milliseconds: 60_000, migrationsPerSecond: 0))
            try worker.service.state.wait(for: "the service to drain") { $0.drains == [.seconds(2)] }
            worker.service.state.update { $0.movable = 1 }
            #expect(!worker.speaks(withinMilliseconds: 100))
            worker.send(.offerTaken(number: offer.number))
            try eventually("it to have moved") { worker.count(.migratedAway) == 1 }
            try worker.service.endConnections(1)
            #expect(try worker.nextPacket() == .drained(forced: 0))
            #expect(try worker.exitCode() == .success)
            _ = clients
        }
    }

    @Test("a state that is too large to move stays; the next is offered after the rest")
    func tooLarge() throws {
        try DescriptorTable.leavingNothing {
            let worker = try WorkerThread.ready()
            let clients = try worker.sendConnections(1)
            worker.service.state.update {
                $0.stateFrozen = [UInt8](repeating: 1, count: MigratedConnection.stateSizeMax + 1)
                $0.movable = 1
            }
            worker.send(.drain(milliseconds: 60_000, migrationsPerSecond: 1_000_000))
            try worker.service.state.wait(for: "it to be served on") { $0.thawed.count == 1 }
            worker.service.state.update {
                $0.stateFrozen = [UInt8](repeating: 2, count: MigratedConnection.stateSizeMax)
                $0.movable = 1
            }
            let offer = try worker.nextOffer()
            #expect(offer.number == 0)
            #expect(offer.connection.state == [UInt8](repeating: 2, count: MigratedConnection.stateSizeMax))
            worker.send(.offerTaken(number: 0))
            #expect(try worker.exitCode() == .success)
            _ = clients
        }
    }

    @Test(
        "an answer to an offer that was not made ends the worker",
        arguments: [Packet.offerTaken(number: 1), .offerRefused(number: 1)])
    func unknownAnswer(packet: Packet) throws {
        try DescriptorTable.leavingNothing {
            let (worker, clients) = try Self.draining(1, movable: 1)
            let offer = try worker.nextOffer()
            worker.send(packet)
            guard case .failed(.internalError, let message) = try worker.nextPacket() else {
                Issue.record("the supervisor is not told")
                return
            }
            #expect(message.hasPrefix("offer 1 was ") && message.hasSuffix(", which is not open"))
            #expect(try worker.exitCode() == .internalError)
            withExtendedLifetime((offer, clients)) {}
        }
    }
}

@Suite("worker process: taking connections over")
struct WorkerImmigrationTests {
    @Test("a moved connection is adopted before the service thaws it, and is counted")
    func adopts() throws {
        try DescriptorTable.leavingNothing {
            let worker = try WorkerThread.ready(connectionsMax: 10)
            let (first, second) = (try ClientEnd.pair(), try ClientEnd.pair())
            try worker.sendConnections(1)
            try worker.sendMigrated([first.served, second.served], state: Array("moved".utf8))
            for fd in [first.served, second.served] { close(fd) }
            let state = try worker.service.state.wait(for: "it to be thawed") { $0.thawed == [Array("moved".utf8)] }
            #expect(state.adoptedWhenServed == [1, 2])
            #expect(state.served[1].peer == WorkerThread.record(3).peer && state.served[1].listener == 3)
            #expect(state.served[1].acceptedAt == WorkerThread.record(3).acceptedAt)
            #expect(try second.client.byte() == nil, "both sockets came")
            let reading = try worker.reading()
            #expect(reading.adopted == 2 && reading.live == 2 && reading.credit == 8)
            #expect(worker.count(.accepted) == 2)
            #expect(worker.count(.migratedHere) == 1)
            worker.send(.stop)
            #expect(try worker.exitCode() == .success)
        }
    }

    @Test("a state of many kilobytes comes whole")
    func large() throws {
        try DescriptorTable.leavingNothing {
            let worker = try WorkerThread.ready()
            let pair = try ClientEnd.pair()
            let bytes = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 8) }
            try worker.sendMigrated([pair.served], state: bytes)
            close(pair.served)
            try worker.service.state.wait(for: "it to be thawed") { $0.thawed == [bytes] }
            worker.send(.stop)
            #expect(try worker.exitCode() == .success)
            #expect(try pair.client.byte() == nil)
        }
    }

    @Test("a state that makes no sense to the service: the socket is closed, counted and logged, and others live on")
    func senseless() throws {
        try DescriptorTable.leavingNothing {
            let worker = try WorkerThread.ready()
            let pair = try ClientEnd.pair()
            let others = try worker.sendConnections(1)
            try worker.sendMigrated([pair.served], state: FakeService.senseless)
            close(pair.served)
            #expect(try pair.client.byte() == nil)
            try eventually("it to be counted") { worker.count(.closed) == 1 }
            #expect(worker.count(.forcedClose) == 1)
            #expect(worker.count(.migratedHere) == 1)
            #expect(try worker.reading().live == 1)
            #expect(
                worker.log.lines.value == [
                    "warning: connection closed: what came with it makes no sense to the service peer=127.0.0.1:1003"
                ])
            worker.send(.stop)
            #expect(try worker.nextPacket() == .drained(forced: 2), "it, and the other now")
            #expect(try worker.exitCode() == .success)
            #expect(worker.count(.forcedClose) == 2)
            _ = others
        }
    }

    @Test("a sequence number out of turn ends the worker, and the sockets are closed")
    func wrongSequence() throws {
        try DescriptorTable.leavingNothing {
            let worker = try WorkerThread.ready()
            let pair = try ClientEnd.pair()
            try worker.sendMigrated([pair.served], state: [], first: 3)
            close(pair.served)
            #expect(
                try worker.nextPacket() == .failed(.internalError, message: "connection 3 came where 0 was next"))
            #expect(try worker.exitCode() == .internalError)
            #expect(try pair.client.byte() == nil)
            #expect(worker.service.state.value.thawed.isEmpty)
        }
    }

    @Test("one that was on its way when the drain began is adopted, and offered like the others")
    func lateArrival() throws {
        try DescriptorTable.leavingNothing {
            let worker = try WorkerThread.ready()
            let clients = try worker.sendConnections(1)
            try worker.service.state.wait(for: "the connection") { $0.served.count == 1 }
            worker.send(.drain(milliseconds: 60_000, migrationsPerSecond: 1000))
            let pair = try ClientEnd.pair()
            try worker.sendMigrated([pair.served], state: Array("late".utf8))
            close(pair.served)
            try worker.service.state.wait(for: "it to be thawed") { $0.thawed.count == 1 }
            worker.service.state.update { $0.movable = 2 }
            let offers = try (0..<2).map { _ in try worker.nextOffer() }
            #expect(offers.map(\.connection.record.listener) == [0, 3])
            for offer in offers { worker.send(.offerTaken(number: offer.number)) }
            #expect(try worker.nextPacket() == .drained(forced: 0))
            #expect(try worker.exitCode() == .success)
            withExtendedLifetime((clients, pair.client)) {}
        }
    }

    @Test(
        "one whose sockets do not fit in the descriptor table is rejected whole, and none of them is kept",
        .enabled(
            if: DescriptorTable.limit <= DescriptorTable.descriptorsMax, "RLIMIT_NOFILE is too high to fill a table"))
    func truncated() throws {
        let isDone: Bool? = try DescriptorTable.withOwn {
            let worker = try WorkerThread.ready()
            let (first, second) = (try ClientEnd.pair(), try ClientEnd.pair())
            let taken = DescriptorTable.fill(leaving: 1)
            try worker.sendMigrated([first.served, second.served], state: [1])
            try eventually("the packet to be taken") { worker.adopted == 1 }
            #expect(try worker.reading().rejected == [0..<1])
            #expect(try worker.reading().live == 0)
            #expect(worker.count(.rejected) == 1)
            #expect(worker.count(.migratedHere) == 0)
            #expect(worker.service.state.value.thawed.isEmpty)
            let free = dup(2)
            #expect(free >= 0, "the one that fitted was closed again")
            close(free)
            for fd in taken { close(fd) }
            try worker.sendMigrated([first.served, second.served], state: [2])
            try worker.service.state.wait(for: "the next, for which there is room") { $0.thawed == [[2]] }
            worker.send(.stop)
            #expect(try worker.exitCode() == .success)
            return true
        }
        if isDone == nil { try Test.cancel("close_range(2) is missing or denied here") }
    }
}
