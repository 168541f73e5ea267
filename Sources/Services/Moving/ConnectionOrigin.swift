import Transport

/// Where a client's connection comes from: what a service tells again when it freezes it.
struct ConnectionOrigin {
    let listener: UInt16
    let peer: SocketAddress
    let acceptedAt: MonotonicTime

    init(_ incoming: IncomingConnection) {
        (listener, peer, acceptedAt) = (incoming.listener, incoming.peer, incoming.acceptedAt)
    }

    init(_ frozen: borrowing FrozenConnection) {
        (listener, peer, acceptedAt) = (frozen.listener, frozen.peer, frozen.acceptedAt)
    }

    /// Puts a frozen connection together from its parts.
    func frozen(_ sockets: [Int32], _ state: FrozenState) -> FrozenConnection {
        FrozenConnection(
            listener: listener, peer: peer, acceptedAt: acceptedAt, sockets: sockets, state: state.encoded)
    }
}
