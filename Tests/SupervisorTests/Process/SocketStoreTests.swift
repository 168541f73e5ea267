import Foundation
import Handoff
import Testing

@testable import Supervisor
@testable import Transport

@Suite("held sockets")
struct SocketStoreTests {
    private static func pair() throws -> (Int32, Int32) {
        var ends: [Int32] = [-1, -1]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        return (ends[0], ends[1])
    }

    private static func isOpen(_ descriptor: Int32) -> Bool { fcntl(descriptor, F_GETFD) >= 0 }

    private static func connection(_ descriptors: Int, state: [UInt8]) -> MigratedConnection {
        MigratedConnection(
            record: ConnectionRecord(
                listener: 7, peer: .ipv4(0x0a00_0001, port: 80), acceptedAt: MonotonicTime(nanoseconds: 5)),
            socketCount: descriptors, state: state)
    }

    @Test("an accepted socket is known by its listener, its peer and its time")
    func accepted() throws {
        let listener = try ListenerBinding.bind(
            ListenerPlan(address: .ipv4(0x7f00_0001, port: 0), kind: "echo", backlog: 4))
        defer { close(listener) }
        let client = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(client) }
        let address = try #require(Socket.localAddress(of: listener))
        try #require(address.withSockaddr { connect(client, $0, $1) } == 0)
        var store = SocketStore()
        let now = MonotonicTime(nanoseconds: 42)
        let socket = store.accepted(accept(listener, nil, nil), listener: 3, now: now)
        #expect(socket.listener == 3 && socket.acceptedAt == now)
        #expect(store[socket.id].record.peer == Socket.localAddress(of: client))
        #expect(store[socket.id].state == nil)
        store.close(socket.id)
    }

    @Test("one peer has the same hash at every port; a socket without a peer is held like the others")
    func hashes() throws {
        func hash(_ peer: SocketAddress) throws -> UInt64 {
            var store = SocketStore()
            let (held, other) = try Self.pair()
            close(other)
            let record = ConnectionRecord(listener: 0, peer: peer, acceptedAt: .now)
            let socket = store.hold(SocketStore.Held(record: record, descriptors: [held], state: nil))
            store.close(socket.id)
            return socket.sourceHash
        }
        #expect(try hash(.ipv4(9, port: 1)) == hash(.ipv4(9, port: 2)))
        #expect(try hash(.ipv4(9, port: 1)) != hash(.ipv4(10, port: 1)))
        var store = SocketStore()
        let (held, other) = try Self.pair()
        close(other)
        let socket = store.accepted(held, listener: 0, now: .now)
        #expect(store[socket.id].descriptors == [held])
        store.close(socket.id)
    }

    @Test("closing a connection that was given up closes all its sockets")
    func closesAll() throws {
        var store = SocketStore()
        let (client, upstream) = try Self.pair()
        let socket = store.offered(Self.connection(2, state: [1, 2]), [client, upstream])
        #expect(store.all.map(\.descriptors) == [[client, upstream]])
        #expect(store[socket.id].state == [1, 2])
        #expect(socket.listener == 7)
        store.close(socket.id)
        #expect(!Self.isOpen(client) && !Self.isOpen(upstream))
        #expect(store.all.isEmpty)
    }

    @Test("the states of all held connections have a bound, and closing one makes room")
    func stateBound() throws {
        var store = SocketStore()
        let state = [UInt8](repeating: 0, count: MigratedConnection.stateSizeMax)
        var held: [SocketID] = []
        while store.hasRoom(forState: state.count) {
            try #require(held.count < 100)
            let (one, other) = try Self.pair()
            close(other)
            held.append(store.offered(Self.connection(1, state: state), [one]).id)
        }
        #expect(held.count == SocketStore.stateBytesMax / state.count)
        #expect(store.hasRoom(forState: 0))
        #expect(!store.hasRoom(forState: 1))
        store.close(held.removeLast())
        #expect(store.hasRoom(forState: state.count))
        for id in held { store.close(id) }
    }
}
