import Foundation
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Datagrams: peers, addresses and the end")
struct DatagramPeerTests {
    private static let cases = across(TransportMode.available, AddressFamily.allCases)

    @Test("connected, it receives from its peer only, and sends to it without an address (netty 65)", arguments: cases)
    func connected(mode: TransportMode, family: AddressFamily) throws {
        let peer = try DatagramPeer(family.address)
        let stranger = try DatagramPeer(family.address)
        let client = try TestDatagram(mode, family.address)
        #expect(try client.on { $0.peerAddress } == nil)
        try client.on { client in #expect(throws: Never.self) { try client.connect(to: peer.address) } }
        #expect(try client.on { $0.peerAddress } == peer.address)
        try client.on { _ = $0.send([1]) }
        let (bytes, sender) = try peer.receiveWithSender()
        #expect(bytes == [1] && sender == client.address)
        // A Unix-domain stranger is told (EPERM), a UDP one is not.
        try? stranger.send([8], to: client.address)
        try peer.send([9], to: client.address)
        #expect(try client.recorder.waitForDatagrams(1) == [[9]])
        try client.join()
    }

    @Test("disconnected, it receives from everybody again (netty 65)", arguments: cases)
    func disconnected(mode: TransportMode, family: AddressFamily) throws {
        let peer = try DatagramPeer(family.address)
        let stranger = try DatagramPeer(family.address)
        let client = try TestDatagram(mode, family.address)
        try client.on { client in
            #expect(throws: Never.self) {
                try client.connect(to: peer.address)
                try client.disconnect()
            }
            #expect(client.peerAddress == nil)
            client.send([1])
        }
        #expect(try client.on { $0.localAddress } == client.address)
        #expect([EDESTADDRREQ, ENOTCONN].contains(try client.recorder.waitForErrors()[0].code))
        try stranger.send([8], to: client.address)
        #expect(try client.recorder.waitForDatagrams(1) == [[8]])
        try client.join()
    }

    @Test("another peer gets nothing that was queued for the one before", arguments: cases)
    func changed(mode: TransportMode, family: AddressFamily) throws {
        let first = try DatagramPeer(family.address)
        let second = try DatagramPeer(family.address)
        let client = try TestDatagram(mode, family.address)
        try client.on { client in
            #expect(throws: Never.self) {
                try client.connect(to: first.address)
                client.send([1])
                try client.connect(to: second.address)
                client.send([2])
            }
        }
        #expect(try first.receive() == [1])
        #expect(try second.receive() == [2])
        #expect(!first.hasDatagram && !second.hasDatagram)
        try client.join()
    }

    @Test(
        "nobody at the other end is told as ECONNREFUSED, each time, and the channel goes on (netty 65)",
        arguments: across(TransportMode.available, [AddressFamily.ipv4, .ipv6]))
    func refused(mode: TransportMode, family: AddressFamily) throws {
        let gone = try DatagramPeer(family.address).address
        let client = try TestDatagram(mode, family.address)
        try client.on { client in #expect(throws: Never.self) { try client.connect(to: gone) } }
        for round in 1...3 {
            try client.on { _ = $0.send([1]) }
            #expect(try client.recorder.waitForErrors(round).allSatisfy { $0.code == ECONNREFUSED })
        }
        let peer = try DatagramPeer(gone)
        try client.on { _ = $0.send([2]) }
        #expect(try peer.receive() == [2])
        try peer.send([3], to: client.address)
        #expect(try client.recorder.waitForDatagrams(1) == [[3]])
        try client.join()
    }

    @Test(
        "a refusal that the next send meets is told, and that datagram is sent all the same (netty 65)",
        arguments: across(TransportMode.available, [AddressFamily.ipv4, .ipv6]))
    func refusalMetBySend(mode: TransportMode, family: AddressFamily) throws {
        let gone = try DatagramPeer(family.address).address
        // No receive is in flight that could be told instead.
        let client = try TestDatagram(mode, family.address, reading: false)
        try client.on { client in
            #expect(throws: Never.self) { try client.connect(to: gone) }
            client.send([1])
        }
        let fd = try client.on { $0.fd }
        try eventually("refusal") {
            var entry = pollfd(fd: fd, events: 0, revents: 0)
            return poll(&entry, 1, 0) == 1 && entry.revents & Int16(POLLERR) != 0
        }
        let peer = try DatagramPeer(gone)
        try client.on { _ = $0.send([2]) }
        #expect(try peer.receive() == [2])
        #expect(client.recorder.all == [.failed(SystemError("sendmmsg", code: ECONNREFUSED))])
        #expect(try client.on { $0.statistics.sent } == 2 && client.on { $0.statistics.dropped } == 0)
        try client.join()
    }

    @Test("a Unix-domain path that is not there is told, connecting and sending", arguments: TransportMode.available)
    func missingPath(mode: TransportMode) throws {
        let client = try TestDatagram(mode, .temporaryUnix())
        let nowhere = SocketAddress.temporaryUnix()
        try client.on { client in
            #expect(throws: SystemError("connect", code: ENOENT)) { try client.connect(to: nowhere) }
            client.send([1], to: nowhere)
        }
        #expect(try client.recorder.waitForErrors() == [SystemError("sendmmsg", code: ENOENT)])
        try client.join()
    }

    @Test(
        "bound by port alone, it hears IPv4 and IPv6, and answers both (netty 65)", arguments: TransportMode.available)
    func portOnly(mode: TransportMode) throws {
        let server = try TestDatagram(mode, fd: Socket.datagram(port: 0), setUp: RecordingDatagram.echo)
        let port = try #require(server.address.port)
        #expect(port != 0)
        let v4 = try DatagramPeer()
        try v4.send([4], to: .ipv4(0x7f00_0001, port: port))
        #expect(try v4.receive() == [4])
        let v6 = try DatagramPeer(.anyLoopbackV6)
        try v6.send([6], to: .ipv6(high: 0, low: 1, port: port, scope: 0))
        #expect(try v6.receive() == [6])
        // The IPv4 sender is shown by its mapped address, ::ffff:127.0.0.1.
        let mapped = SocketAddress.ipv6(high: 0, low: 0xffff_7f00_0001, port: try #require(v4.address.port), scope: 0)
        #expect(server.recorder.all.compactMap(\.header?.sender) == [mapped, v6.address])
        // An IPv4 address will do too.
        try server.on { _ = $0.send([44], to: v4.address) }
        #expect(try v4.receive() == [44])
        try server.join()
    }

    @Test("an IPv6-only socket leaves the port to IPv4", arguments: TransportMode.available)
    func v6Only(mode: TransportMode) throws {
        let any = SocketAddress.ipv6(high: 0, low: 0, port: 0, scope: 0)
        let server = try TestDatagram(mode, fd: Socket.datagram(boundTo: any, isV6Only: true))
        let port = try #require(server.address.port)
        let v4 = try Socket.datagram(boundTo: .ipv4(0, port: port))
        close(v4)
        try server.join()
    }

    @Test("the kernel names a Unix-domain socket that has no name of its own", arguments: TransportMode.available)
    func autobind(mode: TransportMode) throws {
        let server = try TestDatagram(mode, .unix(path: ""), setUp: RecordingDatagram.echo)
        #expect(server.address.host.hasPrefix("@") && server.address.host.count == 6)
        let peer = try DatagramPeer(.temporaryUnix())
        try peer.send([1], to: server.address)
        #expect(try peer.receive() == [1])
        try server.join()
    }

    // MARK: The end

    @Test("close() is told once; the socket and the path it was bound to are gone", arguments: cases)
    func closes(mode: TransportMode, family: AddressFamily) throws {
        let fd = try Socket.datagram(boundTo: family.address)
        let inode = socketInode(fd)
        let server = try TestDatagram(mode, fd: fd)
        try server.on { server in
            server.close()
            server.close()
            #expect(server.recorder.all.isEmpty, "called from within close()")
            #expect(!server.send([1], to: server.localAddress))
        }
        #expect(try server.recorder.waitForEnd() == .closed)
        #expect(try !isOpen(inode: inode))
        if case .unix(let path) = server.address { #expect(access(path, F_OK) != 0) }
        #expect(try server.thread.on { $0.channelCount } == 0)
        try server.join()
        #expect(server.recorder.all == [.closed(.closed)])
    }

    @Test("closing in received() is the end: nothing else is told", arguments: cases)
    func closesInCallback(mode: TransportMode, family: AddressFamily) throws {
        let server = try TestDatagram(mode, family.address) { server in
            server.onReceived = { server, bytes, header in
                server.send(bytes, to: header.sender)
                server.close()
            }
        }
        let peer = try DatagramPeer(family.address)
        // Sent before the loop can look, and while it closes.
        try server.on { _ in for index in 0..<5 { try? peer.send([UInt8(index)], to: server.address) } }
        #expect(try server.recorder.waitForEnd() == .closed)
        #expect(server.recorder.datagrams == [[0]])
        #expect(try peer.receive() == [0], "what was sent before close() goes out")
        try server.join()
    }

    @Test("a loop that stops closes its channels, paused and waiting ones too", arguments: TransportMode.available)
    func loopStops(mode: TransportMode) throws {
        let silent = try DatagramPeer(.temporaryUnix())
        let reading = try TestDatagram(mode)
        let paused = try TestDatagram(mode, reading: false)
        let waiting = try TestDatagram(mode, .temporaryUnix())
        try waiting.on { waiting in
            #expect(throws: Never.self) { try waiting.connect(to: silent.address) }
            for _ in 0..<1000 { waiting.send([1]) }
        }
        try waiting.thread.settle()
        #expect(try waiting.on { $0.queuedBytes } > 0, "the case was not reached")
        for channel in [reading, paused, waiting] {
            try channel.join()
            #expect(channel.recorder.all == [.closed(.loopStopped)])
        }
    }

    @Test("a channel that was never started closes its socket with itself", arguments: TransportMode.available)
    func neverStarted(mode: TransportMode) throws {
        let thread = try LoopThread(mode.configuration)
        let fd = try Socket.datagram(boundTo: .anyLoopback)
        let inode = socketInode(fd)
        try thread.on { loop in _ = RecordingDatagram(loop, fd: fd, .init()) }
        #expect(try !isOpen(inode: inode))
        try thread.join()
    }

    @Test("channels come and go under traffic, and take no buffer with them", arguments: TransportMode.available)
    func churn(mode: TransportMode) throws {
        var configuration = mode.configuration
        configuration.receiveBuffers.count = 4
        configuration.receiveBuffers.size = 256
        let thread = try LoopThread(configuration)
        let peer = try DatagramPeer()
        for round in 0..<100 {
            let fd = try Socket.datagram(boundTo: .anyLoopback)
            let address = try #require(Socket.localAddress(of: fd))
            let recorder = Recorder<DatagramHappening>()
            for index in 0..<10 { try peer.send([UInt8(index)], to: address) }
            try thread.on { loop in
                let channel = RecordingDatagram(loop, fd: fd, recorder)
                channel.onReceived = { channel, bytes, _ in if Int(bytes[0]) == round % 10 { channel.close() } }
                channel.start()
            }
            #expect(try recorder.waitForEnd() == .closed)
            #expect(recorder.datagrams == (0...round % 10).map { [UInt8($0)] })
        }
        try thread.join()
    }
}
