import Glibc
import Handoff
import Transport

/// The listeners, and what they have accepted in the current turn. Sockets are known by their descriptors.
final class Intake {
    private let loop: EventLoop
    private var listeners: [Listener] = []
    private var arrivals: [AcceptedSocket] = []
    private var records: [SocketID: ConnectionRecord] = [:]
    private let arrived: () -> Void
    private var isDelivering = false

    /// Takes over bound sockets. `arrived` is called at the end of a turn in which connections were accepted.
    init(_ loop: EventLoop, descriptors: [Int32], arrived: @escaping () -> Void) {
        self.loop = loop
        self.arrived = arrived
        for (index, fd) in descriptors.enumerated() {
            listeners.append(
                Listener(loop, fd: fd) { [unowned self] in accepted($0, listener: UInt16(index)) })
        }
    }

    /// Accepts that failed for want of descriptors or memory, at all listeners.
    var exhaustedCount: UInt64 { listeners.reduce(0) { $0 + $1.exhaustedCount } }

    /// Accepts that failed otherwise.
    var failedCount: UInt64 { listeners.reduce(0) { $0 + $1.failedCount } }

    private func accepted(_ fd: Int32, listener: UInt16) {
        // A client may be gone already; it is served like the others, and its service finds out.
        let peer = Socket.peerAddress(of: fd) ?? .unix(path: "")
        let id = SocketID(fd)
        let now = loop.turnTime
        arrivals.append(AcceptedSocket(id: id, listener: listener, sourceHash: peer.hostHash, acceptedAt: now))
        assert(records[id] == nil, "a descriptor that is still held was accepted again")
        records[id] = ConnectionRecord(listener: listener, peer: peer, acceptedAt: now)
        if !isDelivering {
            isDelivering = true
            loop.executeAtEndOfTurn { [self] in arrived() }
        }
    }

    /// What has been accepted since the last call.
    func takeArrivals() -> [AcceptedSocket] {
        isDelivering = false
        defer { arrivals.removeAll(keepingCapacity: true) }
        return arrivals
    }

    /// What a worker is told about a socket.
    func record(_ id: SocketID) -> ConnectionRecord {
        guard let record = records[id] else { preconditionFailure("a socket that is not held") }
        return record
    }

    /// Closes our copy.
    func close(_ id: SocketID) {
        let record = records.removeValue(forKey: id)
        precondition(record != nil, "a socket that is not held")
        Glibc.close(id.rawValue)
    }

    func pause() {
        for listener in listeners { listener.pause() }
    }

    func resume() {
        for listener in listeners { listener.resume() }
    }

    /// Accepts until every queue is empty, closes the listeners, then calls `closed`.
    func drainAndClose(_ closed: @escaping () -> Void) {
        var open = listeners.count
        for listener in listeners {
            listener.drainAndClose {
                open -= 1
                if open == 0 { closed() }
            }
        }
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
