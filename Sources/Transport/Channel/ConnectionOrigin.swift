/// Where a client's connection comes from: what a service tells again when it freezes it.
package struct ConnectionOrigin: Sendable {
    let listener: UInt16
    package let peer: SocketAddress
    let acceptedAt: MonotonicTime

    package init(_ incoming: IncomingConnection) {
        (listener, peer, acceptedAt) = (incoming.listener, incoming.peer, incoming.acceptedAt)
    }

    package init(_ frozen: borrowing FrozenConnection) {
        (listener, peer, acceptedAt) = (frozen.listener, frozen.peer, frozen.acceptedAt)
    }

    /// Puts a frozen connection together from its parts.
    package func frozen(_ sockets: [Int32], state: [UInt8]) -> FrozenConnection {
        FrozenConnection(listener: listener, peer: peer, acceptedAt: acceptedAt, sockets: sockets, state: state)
    }
}
