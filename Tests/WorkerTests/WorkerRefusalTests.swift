import Handoff
import Testing
import Transport

@testable import Worker

@Suite("worker process: connections that nobody would have")
struct WorkerRefusalTests {
    /// A worker that drains with migration and can move all that it serves, at any time.
    private static func draining(_ count: Int) throws -> (WorkerThread, [ClientEnd]) {
        let worker = try WorkerThread.ready()
        let clients = try worker.sendConnections(count)
        try worker.service.state.wait(for: "the connections") { $0.served.count == count }
        worker.service.state.update { $0.movable = 1_000_000 }
        worker.send(.drain(milliseconds: 60_000, migrationsPerSecond: 1_000_000))
        return (worker, clients)
    }

    @Test("refused for two seconds they are drained, once and spread; they are offered on, and can still be taken")
    func drained() throws {
        try DescriptorTable.leavingNothing {
            let begin = MonotonicTime.now
            let (worker, clients) = try Self.draining(2)
            var offers = 0
            while worker.service.state.value.drains.isEmpty {
                worker.send(.offerRefused(number: try worker.nextOffer().number))
                offers += 1
            }
            #expect(MonotonicTime.now - begin >= MigrationPacer.patience)
            #expect(offers > 4, "each more than once")
            for _ in 0..<20 { worker.send(.offerRefused(number: try worker.nextOffer().number)) }
            #expect(worker.service.state.value.drains == [.seconds(2)])
            for _ in 0..<2 { worker.send(.offerTaken(number: try worker.nextOffer().number)) }
            #expect(try worker.nextPacket() == .drained(forced: 0))
            #expect(try worker.exitCode() == .success)
            #expect(worker.count(.migratedAway) == 2)
            #expect(worker.count(.forcedClose) == 0)
            withExtendedLifetime(clients) {}
        }
    }

    @Test("one that is refused for ever waits for its next turn until all others are offered")
    func turns() throws {
        try DescriptorTable.leavingNothing {
            let worker = try WorkerThread.ready()
            let clients = try worker.sendConnections(3)
            try worker.service.state.wait(for: "the connections") { $0.served.count == 3 }
            worker.service.state.update { $0.movable = 1 }
            worker.send(.drain(milliseconds: 60_000, migrationsPerSecond: 1_000_000))
            var listeners: [UInt16] = []
            for _ in 0..<6 {
                let offer = try worker.nextOffer()
                listeners.append(offer.connection.record.listener)
                worker.service.state.update { $0.movable = 1 }
                worker.send(.offerRefused(number: offer.number))
            }
            #expect(listeners == [0, 1, 2, 0, 1, 2])
            worker.send(.stop)
            #expect(try worker.exitCode() == .success)
            withExtendedLifetime(clients) {}
        }
    }

    @Test("while others are taken now and then nothing is drained, however long one is refused")
    func othersMove() throws {
        try DescriptorTable.leavingNothing {
            let (worker, clients) = try Self.draining(8)
            var due = MonotonicTime.now
            var moved = 0
            while moved < 7 {
                let offer = try worker.nextOffer()
                // The first is the one. Of the others, one is taken every half second.
                if offer.connection.record.listener != 0, due <= .now {
                    due = .now + .milliseconds(500)
                    moved += 1
                    worker.send(.offerTaken(number: offer.number))
                } else {
                    worker.send(.offerRefused(number: offer.number))
                }
            }
            #expect(worker.service.state.value.drains.isEmpty)
            worker.send(.stop)
            #expect(try worker.exitCode() == .success)
            withExtendedLifetime(clients) {}
        }
    }
}
