import Glibc
import Handoff
import Transport

/// The sockets that the supervisor holds for its workers, by the token that the state machine knows them by.
///
/// The token is the number of the first descriptor, so that no two held sockets have the same.
struct SocketStore {
    /// A connection on its way: fresh from accept(2), or given up by a worker with its state.
    struct Held {
        let record: ConnectionRecord
        /// What the service of the worker that gave it up knows of it; nil for a fresh one.
        let state: [UInt8]?
        /// The client's.
        fileprivate let first: Int32
        /// Those that the connection has besides. Mostly none, which takes no memory.
        private let others: [Int32]

        /// The client's first.
        init(record: ConnectionRecord, descriptors: [Int32], state: [UInt8]?) {
            (self.record, self.state) = (record, state)
            (first, others) = (descriptors[0], Array(descriptors.dropFirst()))
        }

        /// A fresh one.
        fileprivate init(record: ConnectionRecord, descriptor: Int32) {
            (self.record, state, first, others) = (record, nil, descriptor, [])
        }

        /// The client's first.
        var descriptors: [Int32] { [first] + others }

        fileprivate consuming func close() {
            Glibc.close(first)
            for descriptor in others { Glibc.close(descriptor) }
        }
    }

    /// The states of all offered connections together may have so many bytes. A worker keeps what is refused.
    static let stateBytesMax = 64 << 20

    /// By number. The kernel gives the lowest that is free, so that this is no longer than the most that were open.
    private var held: [Held?] = []
    private var stateBytes = 0

    /// All of them, in no order.
    var all: [Held] { held.compactMap { $0 } }

    /// Takes over what was accepted.
    mutating func accepted(_ descriptor: Int32, listener: UInt16, now: MonotonicTime) -> AcceptedSocket {
        // A client may be gone already; it is served like the others, and its service finds out.
        let peer = Socket.peerAddress(of: descriptor) ?? .unix(path: "")
        return hold(
            Held(
                record: ConnectionRecord(listener: listener, peer: peer, acceptedAt: now), descriptor: descriptor))
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
        let id = SocketID(connection.first)
        let index = Int(id.rawValue)
        if index >= held.count { held.append(contentsOf: repeatElement(nil, count: index + 1 - held.count)) }
        assert(held[index] == nil, "a descriptor that is still held came again")
        held[index] = connection
        stateBytes += connection.state?.count ?? 0
        return AcceptedSocket(
            id: id, listener: connection.record.listener, sourceHash: connection.record.peer.hostHash,
            acceptedAt: connection.record.acceptedAt)
    }

    subscript(_ id: SocketID) -> Held {
        guard let connection = held[Int(id.rawValue)] else { preconditionFailure("a socket that is not held") }
        return connection
    }

    /// What goes into a packet of fresh sockets.
    func contents(_ ids: [SocketID]) -> (records: [ConnectionRecord], descriptors: [Int32]) {
        var (records, descriptors): ([ConnectionRecord], [Int32]) = ([], [])
        records.reserveCapacity(ids.count)
        descriptors.reserveCapacity(ids.count)
        for id in ids {
            guard let connection = held[Int(id.rawValue)] else { preconditionFailure("a socket that is not held") }
            assert(connection.state == nil, "an offered connection travels alone")
            records.append(connection.record)
            descriptors.append(connection.first)
        }
        return (records, descriptors)
    }

    /// Closes our copies.
    mutating func close(_ ids: [SocketID]) {
        for id in ids { close(id) }
    }

    /// Closes our copies.
    mutating func close(_ id: SocketID) {
        guard let connection = held[Int(id.rawValue)].take() else { preconditionFailure("a socket that is not held") }
        if let state = connection.state { stateBytes -= state.count }
        connection.close()
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
