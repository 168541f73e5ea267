import Foundation
import Testing

@testable import Supervisor
@testable import Transport
@testable import TransportTesting

/// A table on a loop of its own, that accepts from the first.
private final class TableThread: Sendable {
    struct Accepted: Sendable {
        var id: UInt16
        var peer: Peer
    }

    let thread: LoopThread
    let accepted = Recorder<Accepted>()
    /// What happened in answer to what the test asked for, in order.
    let notes = Recorder<String>()
    // Safe: touched on the loop's thread only.
    private nonisolated(unsafe) var table: ListenerTable?

    init(_ mode: TransportMode) throws {
        thread = try LoopThread(mode)
        try thread.on { loop in
            let table = ListenerTable(loop) { [accepted = self.accepted] in
                accepted.record(Accepted(id: $1, peer: Peer(fd: $0)))
            }
            table.resume()
            self.table = table
        }
    }

    func on<Value: Sendable>(_ body: @escaping @Sendable (ListenerTable) -> Value) throws -> Value {
        try thread.on { _ in
            guard let table = self.table else { preconditionFailure("the table lives as long as the thread") }
            return body(table)
        }
    }

    func prepare(_ plans: [ListenerPlan]) throws -> [UInt16] {
        try on { table -> Result<[UInt16], PlanError> in
            do throws(PlanError) { return .success(try table.prepare(plans)) } catch { return .failure(error) }
        }.get()
    }

    /// Has a configuration serve.
    @discardableResult func serve(_ plans: [ListenerPlan]) throws -> [UInt16] {
        let ids = try prepare(plans)
        try on { $0.commit(ids, plans) }
        return ids
    }

    func address(_ id: UInt16) throws -> SocketAddress {
        let address = try on { table in
            table.inheritance.entries.first { $0.id == id }.flatMap { Socket.localAddress(of: $0.descriptor) }
        }
        return try #require(address)
    }

    func waitForAccepted(_ count: Int) throws {
        try accepted.wait { $0.count >= count }
        #expect(accepted.all.count == count)
    }

    func wait(forNote note: String) throws { try notes.wait { $0.contains(note) } }

    func join() throws {
        try thread.join()
        table = nil
    }
}

@Suite("listener table")
struct ListenerTableTests {
    private static let modes = TransportMode.available.filter { $0 != .incremental }
    private static let anyPort = ListenerPlan(address: .ipv4(0x7f00_0001, port: 0), kind: "echo", backlog: 512)

    /// A path that two configurations can both name.
    private static func path() -> ListenerPlan {
        ListenerPlan(
            address: .unix(path: "/tmp/ringmaster-\(UUID().uuidString.prefix(8)).sock"), kind: "echo", backlog: 512)
    }

    private static func connect(_ count: Int, to address: SocketAddress) throws -> [Peer] {
        try (0..<count).map { _ in try Peer(connectingTo: address) }
    }

    private static func refuses(_ address: SocketAddress) -> Bool { (try? Peer(connectingTo: address)) == nil }

    @Test("a prepared listener queues clients, and accepts them when it is committed", arguments: modes)
    func commit(mode: TransportMode) throws {
        let table = try TableThread(mode)
        let ids = try table.prepare([Self.anyPort, Self.anyPort])
        let clients = try Self.connect(3, to: table.address(ids[1]))
        try table.thread.settle()
        #expect(table.accepted.all.isEmpty)
        try table.on { $0.commit(ids, [Self.anyPort, Self.anyPort]) }
        try table.waitForAccepted(3)
        #expect(table.accepted.all.allSatisfy { $0.id == ids[1] })
        try table.join()
        _ = clients
    }

    @Test("what is accepted sends small writes at once, without a call for each (TCP_NODELAY)", arguments: modes)
    func noDelay(mode: TransportMode) throws {
        let table = try TableThread(mode)
        let ids = try table.serve([Self.anyPort])
        let clients = try Self.connect(1, to: table.address(ids[0]))
        try table.waitForAccepted(1)
        var value: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        let accepted = try #require(table.accepted.all.first)
        #expect(getsockopt(accepted.peer.fd, Int32(IPPROTO_TCP), TCP_NODELAY, &value, &length) == 0)
        #expect(value != 0)
        try table.join()
        _ = clients
    }

    @Test("an address in both configurations keeps its socket and its id; the new configuration's kind counts")
    func kept() throws {
        let table = try TableThread(.usual)
        let path = Self.path()
        let before = try table.serve([Self.anyPort, path])
        let sockets = try table.on { $0.serving.map(\.descriptor) }
        let changed = ListenerPlan(address: path.address, kind: "proxy", backlog: path.backlog)
        let after = try table.prepare([changed, Self.anyPort])
        #expect(after == [before[1], before[0]])
        #expect(try table.on { $0.serving.map(\.plan.kind) } == ["echo", "echo"], "nothing counts before the commit")
        try table.on { $0.commit(after, [changed, Self.anyPort]) }
        #expect(try table.on { $0.serving.map(\.plan.kind) } == ["echo", "proxy"])
        #expect(try table.on { $0.serving.map(\.descriptor) } == sockets)
        try table.join()
    }

    @Test("when one listener cannot be bound, the others of that configuration are undone and nothing has changed")
    func preparationFails() throws {
        let table = try TableThread(.usual)
        let ids = try table.serve([Self.anyPort])
        let path = Self.path()
        let nowhere = ListenerPlan(address: .unix(path: "/nowhere/at/all"), kind: "echo", backlog: 1)
        #expect(throws: PlanError.self) { try table.prepare([Self.anyPort, path, nowhere]) }
        #expect(Self.refuses(path.address))
        #expect(try table.on { $0.inheritance.entries.map(\.id) } == ids)
        let client = try Self.connect(1, to: table.address(ids[0]))
        try table.waitForAccepted(1)
        try table.join()
        _ = client
    }

    @Test("a retired listener hands over all that its queue holds before it closes; the others go on", arguments: modes)
    func retire(mode: TransportMode) throws {
        let table = try TableThread(mode)
        let ids = try table.serve([Self.anyPort, Self.anyPort])
        let (gone, kept) = (try table.address(ids[0]), try table.address(ids[1]))
        try table.on { $0.pause() }
        let clients = try Self.connect(100, to: gone)
        try table.on { listeners in
            listeners.retire([ids[0]]) { table.notes.record("retired after \(table.accepted.all.count)") }
        }
        try table.wait(forNote: "retired after 100")
        #expect(Self.refuses(gone))
        #expect(try table.on { $0.serving.map(\.id) } == [ids[1]])
        let late = try Self.connect(1, to: kept)
        try table.on { $0.resume() }
        try table.waitForAccepted(101)
        try table.join()
        _ = (clients, late)
    }

    @Test("who closes a listener that is being closed already is told when it is")
    func closedTwice() throws {
        let table = try TableThread(.usual)
        let ids = try table.serve([Self.anyPort])
        let early = try table.on { listeners in
            listeners.retire([ids[0]]) { table.notes.record("retired") }
            listeners.drainAndClose { table.notes.record("closed") }
            return (table.notes.all, listeners.isClosing)
        }
        #expect(early == ([], true))
        try table.wait(forNote: "closed")
        #expect(table.notes.all == ["retired", "closed"])
        #expect(try !table.on { $0.isClosing })
        try table.join()
    }

    @Test("a roll-back closes what was prepared, nothing else, and its address is free again")
    func rollBack() throws {
        let table = try TableThread(.usual)
        let path = Self.path()
        let ids = try table.serve([Self.anyPort])
        _ = try table.prepare([Self.anyPort, path])
        let wasReused = try table.on { listeners in
            listeners.rollBack()
            // In the same turn it is closing: a dead listener must not be taken for one that serves.
            return (try? listeners.prepare([path])) != nil && listeners.isClosing
        }
        #expect(!wasReused)
        try eventually("the listener to be closed") { try !table.on { $0.isClosing } }
        try table.on { $0.rollBack() }
        try eventually("the listener to be closed") { try !table.on { $0.isClosing } }
        #expect(Self.refuses(path.address))
        let again = try table.serve([Self.anyPort, path])
        #expect(again[0] == ids[0])
        let clients = try Self.connect(1, to: path.address) + Self.connect(1, to: table.address(ids[0]))
        try table.waitForAccepted(2)
        try table.join()
        _ = clients
    }

    @Test(
        "given up while clients connect, each is accepted before or waits in the queue; none is lost", arguments: modes)
    func giveUp(mode: TransportMode) throws {
        // Few enough that all cases at once have descriptors for both ends where those are short.
        let count = 100
        let table = try TableThread(mode)
        let ids = try table.serve([Self.anyPort])
        let address = try table.address(ids[0])
        let connected = Recorder<[Peer]>()
        Thread.detachNewThread { connected.record((try? Self.connect(count, to: address)) ?? []) }
        try table.accepted.wait { $0.count >= 10 }
        try table.on { listeners in
            listeners.giveUp { table.notes.record("given up") }
        }
        try table.wait(forNote: "given up")
        try table.thread.settle()
        let before = table.accepted.all.count
        let clients = try connected.next()
        #expect(clients.count == count, "the socket listens on")
        try table.thread.settle()
        #expect(table.accepted.all.count == before, "nothing is accepted any more")
        try table.on { $0.takeBack() }
        try table.waitForAccepted(count)
        try table.join()
    }

    @Test("what is given up stays open as it was, and another table goes on with it", arguments: modes)
    func take(mode: TransportMode) throws {
        let first = try TableThread(mode)
        let path = Self.path()
        try first.serve([path])
        try first.on { listeners in listeners.giveUp { first.notes.record("given up") } }
        try first.wait(forNote: "given up")
        let clients = try Self.connect(5, to: path.address)
        let (entries, next) = try first.on { $0.inheritance }
        let second = try TableThread(mode)
        try second.on { $0.take(entries, idNext: next) }
        try second.waitForAccepted(5)
        #expect(try second.prepare([path, Self.anyPort]) == [0, 1], "ids go on")
        try second.join()
        try first.join()
        _ = clients
    }

    @Test("a listener that is to be closed while it is given up is closed when it is taken back", arguments: modes)
    func closeWhileGivenUp(mode: TransportMode) throws {
        let table = try TableThread(mode)
        let ids = try table.serve([Self.anyPort])
        let address = try table.address(ids[0])
        try table.on { listeners in
            listeners.giveUp { table.notes.record("given up") }
            listeners.drainAndClose { table.notes.record("closed") }
        }
        try table.wait(forNote: "given up")
        let clients = try Self.connect(5, to: address)
        try table.thread.settle()
        #expect(table.notes.all == ["given up"])
        try table.on { $0.takeBack() }
        try table.wait(forNote: "closed")
        try table.waitForAccepted(5)
        #expect(Self.refuses(address))
        try table.join()
        _ = clients
    }

    @Test("paused and resumed while it is given up, it does as it was told last when it is taken back")
    func pauseWhileGivenUp() throws {
        let table = try TableThread(.usual)
        let ids = try table.serve([Self.anyPort])
        let address = try table.address(ids[0])
        try table.on { listeners in
            listeners.giveUp { table.notes.record("given up") }
            listeners.resume()
            listeners.pause()
        }
        try table.wait(forNote: "given up")
        let clients = try Self.connect(1, to: address)
        try table.on { $0.takeBack() }
        try table.thread.settle()
        #expect(table.accepted.all.isEmpty)
        try table.on { $0.resume() }
        try table.waitForAccepted(1)
        try table.join()
        _ = clients
    }
}
