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

    private var held: [SocketID: Held] = [:]
    private var stateBytes = 0

    /// All of them, in no order.
    var all: [Held] { Array(held.values) }

    /// Takes over what was accepted.
    mutating func accepted(_ descriptor: Int32, listener: UInt16, now: MonotonicTime) -> AcceptedSocket {
        // A client may be gone already; it is served like the others, and its service finds out.
        let peer = Socket.peerAddress(of: descriptor) ?? .unix(path: "")
        return hold(
            Held(
                record: ConnectionRecord(listener: listener, peer: peer, acceptedAt: now), descriptors: [descriptor],
                state: nil))
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
        assert(held[id] == nil, "a descriptor that is still held came again")
        held[id] = connection
        stateBytes += connection.state?.count ?? 0
        return AcceptedSocket(
            id: id, listener: connection.record.listener, sourceHash: connection.record.peer.hostHash,
            acceptedAt: connection.record.acceptedAt)
    }

    subscript(_ id: SocketID) -> Held {
        guard let connection = held[id] else { preconditionFailure("a socket that is not held") }
        return connection
    }

    /// Closes our copies.
    mutating func close(_ id: SocketID) {
        guard let connection = held.removeValue(forKey: id) else { preconditionFailure("a socket that is not held") }
        stateBytes -= connection.state?.count ?? 0
        for descriptor in connection.descriptors { Glibc.close(descriptor) }
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
