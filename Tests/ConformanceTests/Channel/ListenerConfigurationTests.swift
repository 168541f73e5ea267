import Glibc
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Listener configuration")
struct ListenerConfigurationTests {
    /// A listener that records what it accepts.
    private func listen(
        _ thread: LoopThread, _ address: SocketAddress, _ configuration: ListenerConfiguration
    ) throws -> (address: SocketAddress, accepted: Recorder<Peer>) {
        let fd = try Socket.listen(address, configuration)
        let accepted = Recorder<Peer>()
        try thread.on { loop in
            Listener(loop, fd: fd) { accepted.record(Peer(fd: $0)) }.resume()
        }
        return (try #require(Socket.localAddress(of: fd)), accepted)
    }

    @Test(
        "the kernel spreads connections over the listeners that share a port (netty 69)",
        arguments: TransportMode.available)
    func sharedPort(mode: TransportMode) throws {
        var configuration = ListenerConfiguration()
        configuration.reusePort = true
        let threads = [try LoopThread(mode), try LoopThread(mode)]
        let first = try listen(threads[0], .anyLoopback, configuration)
        let second = try listen(threads[1], first.address, configuration)
        #expect(first.address == second.address)
        // Each client has a port of its own, whose hash chooses: that one gets all is as likely as 64 heads in a row.
        let clients = try (0..<64).map { _ in try Peer(connectingTo: first.address) }
        try eventually("all accepted") { first.accepted.all.count + second.accepted.all.count == clients.count }
        #expect(!first.accepted.all.isEmpty && !second.accepted.all.isEmpty)
        for thread in threads { try thread.join() }
    }

    @Test(
        "a listener that defers accepts a client when its first bytes have come",
        arguments: TransportMode.available, [AddressFamily.ipv4, .ipv6])
    func deferred(mode: TransportMode, family: AddressFamily) throws {
        var configuration = ListenerConfiguration()
        configuration.deferAccept = .seconds(30)
        let thread = try LoopThread(mode)
        let (address, accepted) = try listen(thread, family.address, configuration)
        let silent = try Peer(connectingTo: address)
        let talking = try Peer(connectingTo: address)
        try thread.settle()
        #expect(accepted.all.isEmpty)
        try talking.send("hello")
        let peer = try accepted.next()
        #expect(Socket.peerAddress(of: peer.fd) == Socket.localAddress(of: talking.fd))
        #expect(try peer.receive(exactly: 5) == Array("hello".utf8))
        #expect(accepted.all.isEmpty)
        withExtendedLifetime(silent) {}
        try thread.join()
    }

    @Test("accepted sockets inherit the listener's options", arguments: TransportMode.available)
    func inherited(mode: TransportMode) throws {
        var configuration = ListenerConfiguration()
        configuration.options = [.init(.noDelay, true), .init(.keepAlive, true), .init(.receiveBufferSize, 30000)]
        let thread = try LoopThread(mode)
        let (address, accepted) = try listen(thread, .anyLoopback, configuration)
        let client = try Peer(connectingTo: address)
        let peer = try accepted.next()
        #expect(try Socket.get(.noDelay, of: peer.fd))
        #expect(try Socket.get(.keepAlive, of: peer.fd))
        #expect(try Socket.get(.receiveBufferSize, of: peer.fd) == 60000)
        withExtendedLifetime(client) {}
        try thread.join()
    }

    @Test("clients beyond the backlog wait, and are accepted when there is room", arguments: TransportMode.available)
    func backlog(mode: TransportMode) throws {
        var configuration = ListenerConfiguration()
        configuration.backlog = 2
        let fd = try Socket.listen(.anyLoopback, configuration)
        let address = try #require(Socket.localAddress(of: fd))
        // The queue holds one more than its backlog (inet_csk_reqsk_queue_is_full(), sk_acceptq_is_full()).
        let clients = try (0..<3).map { _ in try Peer(connectingTo: address) }
        let late = try Socket.stream(AF_INET)
        _ = fcntl(late, F_SETFL, O_NONBLOCK)
        #expect(address.withSockaddr { connect(late, $0, $1) } == -1 && errno == EINPROGRESS)
        let peer = Peer(fd: late)
        let thread = try LoopThread(mode)
        let accepted = Recorder<Peer>()
        try thread.on { loop in Listener(loop, fd: fd) { accepted.record(Peer(fd: $0)) }.resume() }
        try accepted.wait { $0.count == clients.count + 1 }
        #expect(accepted.all.contains { Socket.peerAddress(of: $0.fd) == Socket.localAddress(of: peer.fd) })
        try thread.join()
    }
}
