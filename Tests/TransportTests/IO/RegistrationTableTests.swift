import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Registration table")
struct RegistrationTableTests {
    /// Counts the channels that are alive.
    private final class Life {
        var alive = 0
    }

    private final class StubChannel: Channel {
        private let life: Life
        init(_ loop: EventLoop, _ life: Life) {
            self.life = life
            super.init(loop, fd: -1)
            life.alive += 1
        }
        deinit { life.alive -= 1 }
    }

    /// The table in a class, since a test's expectations copy what they look at.
    private final class Table {
        private var table: RegistrationTable

        init(capacity: Int = 64, firstGeneration: UInt32 = 0) {
            table = RegistrationTable(capacity: capacity, firstGeneration: firstGeneration)
        }

        var count: Int { table.count }
        var channels: [Channel] { table.channels() }
        func register(_ channel: Channel) -> RegistrationID { table.register(channel) }
        func channel(_ id: RegistrationID) -> Channel? {
            table.channel(id)?.takeUnretainedValue()
        }
        func began(_ kind: OperationKind, _ id: RegistrationID) { table.began(kind, id) }
        func isInFlight(_ kind: OperationKind, _ id: RegistrationID) -> Bool { table.isInFlight(kind, id) }
        func cancel(_ id: RegistrationID) { table.cancel(id) }

        func isDelivered(_ kind: OperationKind, _ id: RegistrationID, isTerminal: Bool) -> Bool {
            if case .deliver = table.completed(kind, id, isTerminal: isTerminal) { true } else { false }
        }

        func awaitNotification(_ kind: OperationKind, _ id: RegistrationID) { table.awaitNotification(kind, id) }
        func awaitsNotification(_ kind: OperationKind, _ id: RegistrationID) -> Bool {
            table.awaitsNotification(kind, id)
        }
        func release(_ id: RegistrationID) -> Bool { table.releaseIfDone(id) != nil }

        /// Frees the slot if it may be, as the loop does.
        func free(_ id: RegistrationID) -> Bool {
            _ = table.releaseIfDone(id)
            guard let channel = table.freeIfDone(id) else { return false }
            channel.release()
            return true
        }
    }

    private let loop: EventLoop
    private let life = Life()

    init() throws { loop = try EventLoop(TransportMode.epoll.configuration) }

    @Test("a registration is alive until it is cancelled and every operation has completed")
    func lifetime() {
        let table = Table()
        let id = table.register(StubChannel(loop, life))
        #expect(id.slot > 0, "slot 0 is the handler's")
        table.began(.receive, id)
        table.began(.send, id)
        #expect(!table.free(id), "not cancelled")
        table.cancel(id)
        #expect(!table.free(id), "two in flight")
        #expect(table.isDelivered(.receive, id, isTerminal: false))
        #expect(table.isInFlight(.receive, id), "F_MORE: not its last completion")
        #expect(table.isDelivered(.receive, id, isTerminal: true))
        #expect(!table.isInFlight(.receive, id))
        #expect(!table.free(id), "one in flight")
        #expect(table.isDelivered(.send, id, isTerminal: true))
        #expect(table.count == 1 && life.alive == 1)
        #expect(table.free(id))
        #expect(table.count == 0 && life.alive == 0)
        #expect(!table.free(id), "freed once")
    }

    @Test("a notification keeps the slot and the channel, but not the channel from being released, once")
    func notification() {
        let table = Table()
        let id = table.register(StubChannel(loop, life))
        table.began(.zeroCopySend1, id)
        table.began(.receive, id)
        table.cancel(id)
        #expect(!table.awaitsNotification(.zeroCopySend1, id) && !table.release(id))
        #expect(table.isDelivered(.receive, id, isTerminal: true))
        #expect(!table.release(id), "the result is still to come")
        table.awaitNotification(.zeroCopySend1, id)
        #expect(table.awaitsNotification(.zeroCopySend1, id) && table.isInFlight(.zeroCopySend1, id))
        #expect(table.release(id) && !table.release(id))
        #expect(!table.free(id) && life.alive == 1 && table.count == 1)
        #expect(table.isDelivered(.zeroCopySend1, id, isTerminal: true))
        #expect(!table.awaitsNotification(.zeroCopySend1, id))
        #expect(table.free(id) && life.alive == 0 && table.count == 0)
        let next = table.register(StubChannel(loop, life))
        #expect(next.slot == id.slot && !table.release(next), "the next owner is neither cancelled nor released")
    }

    @Test("a completion for a former owner of the slot, or for nothing in flight, is stale")
    func stale() {
        let table = Table()
        let first = table.register(StubChannel(loop, life))
        #expect(!table.isDelivered(.send, first, isTerminal: true))
        table.cancel(first)
        #expect(table.free(first))
        let second = table.register(StubChannel(loop, life))
        #expect(second.slot == first.slot && second.generation == first.generation + 1)
        table.began(.send, second)
        #expect(!table.isDelivered(.send, first, isTerminal: true))
        #expect(table.isInFlight(.send, second) && !table.isInFlight(.send, first))
        #expect(table.channel(first) == nil && table.channel(second) != nil)
        for slot in [0, 5, UInt32.max] {
            let foreign = RegistrationID(slot: slot, generation: 0)
            #expect(!table.isDelivered(.send, foreign, isTerminal: true))
        }
    }

    @Test("after the last generation comes 0 again")
    func generationWraps() {
        let table = Table(firstGeneration: RegistrationID.generationMax)
        let channel = StubChannel(loop, life)
        let last = table.register(channel)
        #expect(last.generation == RegistrationID.generationMax)
        table.cancel(last)
        #expect(table.free(last))
        #expect(table.register(channel) == RegistrationID(slot: last.slot, generation: 0))
    }

    @Test("thousands of registrations come and go; each finds its own channel, and slots are reused")
    func growth() {
        var generator = SeededGenerator(seed: 11)
        let table = Table(capacity: 2)
        var model: [RegistrationID: ObjectIdentifier] = [:]
        var most = 0
        for _ in 0..<20_000 {
            if model.count < 500, Bool.random(using: &generator) || model.isEmpty {
                let channel = StubChannel(loop, life)
                let id = table.register(channel)
                #expect(model.updateValue(ObjectIdentifier(channel), forKey: id) == nil)
                most = max(most, model.count)
            } else {
                let id = model.keys.randomElement(using: &generator)!
                #expect(table.channel(id).map(ObjectIdentifier.init) == model.removeValue(forKey: id))
                table.cancel(id)
                #expect(table.free(id))
            }
        }
        #expect(table.count == model.count && life.alive == model.count)
        #expect(Set(table.channels.map(ObjectIdentifier.init)) == Set(model.values))
        #expect(model.keys.allSatisfy { $0.slot <= most }, "a new slot was used while one was free")
    }

    @Test("a table that goes lets go of its channels")
    func deinitialization() {
        do {
            let table = Table()
            for _ in 0..<100 { _ = table.register(StubChannel(loop, life)) }
            #expect(life.alive == 100)
        }
        #expect(life.alive == 0)
    }
}
