import CSocket
import Glibc

@testable import Transport

/// A real listening socket and the clients in its queue. Simulated accepts take from it.
final class SimulatedHarbour {
    let descriptor: SimulatedDescriptor
    let address: SocketAddress
    /// The clients' ends of connections that nobody has claimed, in the order of their arrival.
    private var clients: [Int32] = []
    /// Of those, how many the simulated kernel has accepted.
    private var acceptedCount = 0

    init() throws {
        let fd = try Socket.listen(.anyLoopback, backlog: 256)
        descriptor = SimulatedDescriptor(fd)
        address = Socket.localAddress(of: fd) ?? .anyLoopback
    }

    deinit {
        for client in clients { close(client) }
    }

    var hasQueued: Bool { clients.count > acceptedCount }
    var unclaimedCount: Int { clients.count }
    var isOpen: Bool { descriptor.isOpen }

    /// A client connects.
    func arrive() throws {
        let client = try Socket.stream(AF_INET)
        try connect(client)
        clients.append(client)
    }

    /// Connects `fd`, and returns when the listener's queue holds the connection.
    private func connect(_ fd: Int32) throws {
        let before = queueLength
        let result = address.withSockaddr { Glibc.connect(fd, $0, $1) }
        try SystemError.check(result == 0 ? 0 : -errno, "connect")
        for _ in 0..<SimulatedDescriptors.looksMax {
            if queueLength != before { return }
            sched_yield()
        }
    }

    /// Connects `fd` and accepts it: the pair.
    func join(_ fd: Int32) throws -> SimulatedDescriptors {
        try connect(fd)
        return SimulatedDescriptors(near: fd, far: try SystemError.check(csocket_accept(descriptor.fd), "accept4"))
    }

    private var queueLength: UInt32 { (try? Socket.tcpInfo(of: descriptor.fd).unacknowledged) ?? 0 }

    func accept() -> Int32 {
        acceptedCount += 1
        return csocket_accept(descriptor.fd)
    }

    /// The client's end of the next connection that was handed over, by an accept of the kernel or of a listener that drains.
    func claim() -> Int32? {
        guard !clients.isEmpty else { return nil }
        acceptedCount = max(0, acceptedCount - 1)
        return clients.removeFirst()
    }
}
