import Glibc
import Handoff
import Transport

/// The sockets that the supervisor holds for its workers, by the token that the state machine knows them by.
///
/// The token is the number of the first descriptor, so that no two held sockets have the same.
struct SocketStore {
    /// A connection on its way: fresh from accept(2), or given up by a worker with its state.
    struct Held {
        var record: ConnectionRecord
        /// The client's first.
        var descriptors: [Int32]
        /// What the service of the worker that gave it up knows of it; nil for a fresh one.
        var state: [UInt8]?
    }

    /// The states of all offered connections together may have so many bytes. A worker keeps what is refused.
    static let stateBytesMax = 64 << 20

    /// Fresh ones by descriptor. The kernel gives the lowest that is free, so that this is no longer than the most that were open.
    private var fresh: [ConnectionRecord?] = []
    /// Those that workers gave up: few at a time.
    private var offered: [SocketID: Held] = [:]
    private var stateBytes = 0

    /// All of them, in no order.
    var all: [Held] {
        fresh.indices.compactMap { index in
            fresh[index].map { Held(record: $0, descriptors: [Int32(index)], state: nil) }
        } + offered.values
    }

    /// Takes over what was accepted.
    mutating func accepted(_ descriptor: Int32, listener: UInt16, now: MonotonicTime) -> AcceptedSocket {
        // A client may be gone already; it is served like the others, and its service finds out.
        let peer = Socket.peerAddress(of: descriptor) ?? .unix(path: "")
        let record = ConnectionRecord(listener: listener, peer: peer, acceptedAt: now)
        hold(record, descriptor)
        return AcceptedSocket(SocketID(descriptor), record)
    }

    /// Whether there is room for so much more of state.
    func hasRoom(forState count: Int) -> Bool { count <= Self.stateBytesMax - stateBytes }

    /// Takes over what a worker gave up.
    mutating func offered(_ connection: MigratedConnection, _ descriptors: [Int32]) -> AcceptedSocket {
        precondition(connection.socketCount == descriptors.count)
        return hold(Held(record: connection.record, descriptors: descriptors, state: connection.state))
    }

    /// Takes over a socket; it is the state machine's from now on.
    @discardableResult
    mutating func hold(_ connection: Held) -> AcceptedSocket {
        let id = SocketID(connection.descriptors[0])
        if let state = connection.state {
            assert(!isHeld(id), "a descriptor that is still held came again")
            offered[id] = connection
            stateBytes += state.count
        } else {
            assert(connection.descriptors.count == 1)
            hold(connection.record, id.rawValue)
        }
        return AcceptedSocket(id, connection.record)
    }

    private mutating func hold(_ record: ConnectionRecord, _ descriptor: Int32) {
        assert(!isHeld(SocketID(descriptor)), "a descriptor that is still held came again")
        let index = Int(descriptor)
        if index >= fresh.count { fresh.append(contentsOf: repeatElement(nil, count: index + 1 - fresh.count)) }
        fresh[index] = record
    }

    private func isHeld(_ id: SocketID) -> Bool {
        offered[id] != nil || fresh.indices.contains(Int(id.rawValue)) && fresh[Int(id.rawValue)] != nil
    }

    subscript(_ id: SocketID) -> Held {
        if let connection = givenUp(id) { return connection }
        return Held(record: record(id), descriptors: [id.rawValue], state: nil)
    }

    /// The connection if a worker gave it up; nil when it is a fresh one.
    func givenUp(_ id: SocketID) -> Held? { offered.isEmpty ? nil : offered[id] }

    /// What is known of a fresh one.
    func record(_ id: SocketID) -> ConnectionRecord {
        let index = Int(id.rawValue)
        guard fresh.indices.contains(index), let record = fresh[index] else {
            preconditionFailure("a socket that is not held")
        }
        return record
    }

    /// Closes our copies.
    mutating func close(_ ids: [SocketID]) {
        for id in ids { close(id) }
    }

    /// Closes our copies.
    mutating func close(_ id: SocketID) {
        if !offered.isEmpty, let connection = offered.removeValue(forKey: id) {
            stateBytes -= connection.state?.count ?? 0
            for descriptor in connection.descriptors { Glibc.close(descriptor) }
            return
        }
        let index = Int(id.rawValue)
        precondition(fresh.indices.contains(index) && fresh[index] != nil, "a socket that is not held")
        fresh[index] = nil
        Glibc.close(id.rawValue)
    }
}

extension AcceptedSocket {
    fileprivate init(_ id: SocketID, _ record: ConnectionRecord) {
        self.init(id: id, listener: record.listener, sourceHash: record.peer.hostHash, acceptedAt: record.acceptedAt)
    }
}

extension SocketAddress {
    /// A number for the host, the same for every port and every process.
    fileprivate var hostHash: UInt64 {
        switch self {
        case .ipv4(let host, _): UInt64(host)
        case .ipv6(let high, let low, _, _): high ^ (low &* 0x9e37_79b9_7f4a_7c15)
        case .unix: 0
        }
    }
}
