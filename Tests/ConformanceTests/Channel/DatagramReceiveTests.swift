import Foundation
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Datagrams: receiving")
struct DatagramReceiveTests {
    private static let cases = across(TransportMode.available, AddressFamily.allCases)

    @Test("datagrams arrive one by one, in order, with their sender (netty 65)", arguments: cases)
    func received(mode: TransportMode, family: AddressFamily) throws {
        let server = try TestDatagram(mode, family.address)
        let peer = try DatagramPeer(family.address)
        let sent = (1...8).map { pattern($0 * 100, seed: UInt64($0)) }
        for bytes in sent { try peer.send(bytes, to: server.address) }
        #expect(try server.recorder.waitForDatagrams(sent.count) == sent)
        for header in server.recorder.all.compactMap(\.header) {
            #expect(header == DatagramHeader(sender: peer.address))
        }
        try server.join()
    }

    @Test("an empty datagram is one of no bytes, and others follow it (netty 65)", arguments: cases)
    func empty(mode: TransportMode, family: AddressFamily) throws {
        let server = try TestDatagram(mode, family.address)
        let peer = try DatagramPeer(family.address)
        for bytes in [[], [1], [], [], [2]] as [[UInt8]] { try peer.send(bytes, to: server.address) }
        #expect(try server.recorder.waitForDatagrams(5) == [[], [1], [], [], [2]])
        #expect(server.recorder.all.allSatisfy { $0.header?.sender == peer.address })
        try server.join()
    }

    @Test("the longest that fits is whole; a longer one is cut, flagged and counted", arguments: cases)
    func truncated(mode: TransportMode, family: AddressFamily) throws {
        let server = try TestDatagram(mode, family.address, buffers: (count: 16, size: 1024))
        let longest = try server.on { $0.receiveSizeMax }
        #expect(longest > 850 && longest < 1024)
        let peer = try DatagramPeer(family.address)
        let bytes = pattern(longest + 1)
        try peer.send(Array(bytes.dropLast()), to: server.address)
        try peer.send(bytes, to: server.address)
        try peer.send([1], to: server.address)
        let received = try server.recorder.waitForDatagrams(3)
        #expect(received == [Array(bytes.dropLast()), Array(bytes.dropLast()), [1]])
        #expect(server.recorder.all.compactMap(\.header?.isTruncated) == [false, true, false])
        #expect(try server.on { $0.statistics.truncated } == 1)
        try server.join()
    }

    @Test("a Unix-domain sender without a name has no address", arguments: TransportMode.available)
    func unnamedSender(mode: TransportMode) throws {
        let server = try TestDatagram(mode, .temporaryUnix())
        let fd = try Socket.datagram(family: AF_UNIX)
        defer { close(fd) }
        let sent = server.address.withSockaddr { sendto(fd, "hello", 5, 0, $0, $1) }
        #expect(sent == 5)
        #expect(try server.recorder.waitForDatagrams(1) == [Array("hello".utf8)])
        #expect(server.recorder.all.first?.header?.sender == nil)
        try server.join()
    }

    @Test("a burst far beyond the receive buffers waits in the socket, and arrives in order", arguments: cases)
    func exhaustion(mode: TransportMode, family: AddressFamily) throws {
        // A Unix-domain socket holds only net.unix.max_dgram_qlen datagrams, and the sender waits for room.
        let fd = try Socket.datagram(boundTo: family.address)
        _ = Socket.set(fd, SOL_SOCKET, SO_RCVBUF, 4 * 1024 * 1024)
        let server = try TestDatagram(mode, fd: fd, buffers: (count: 2, size: 512), reading: false)
        let peer = try DatagramPeer(family.address)
        if family != .unix {
            for index in 0..<100 { try peer.send(pattern(40, seed: UInt64(index)), to: server.address) }
            try server.on { $0.resumeReading() }
        } else {
            try server.on { $0.resumeReading() }
            for index in 0..<100 { try peer.send(pattern(40, seed: UInt64(index)), to: server.address) }
        }
        #expect(try server.recorder.waitForDatagrams(100) == (0..<100).map { pattern(40, seed: UInt64($0)) })
        if family != .unix {
            let exhausted = try server.thread.on { $0.statistics.receiveBuffersExhausted }
            #expect(exhausted > 0, "the case was not reached")
        }
        try server.join()
    }

    @Test("while reading is paused nothing is told; what came meanwhile follows in order", arguments: cases)
    func paused(mode: TransportMode, family: AddressFamily) throws {
        let server = try TestDatagram(mode, family.address)
        let peer = try DatagramPeer(family.address)
        try peer.send([0], to: server.address)
        _ = try server.recorder.waitForDatagrams(1)
        try server.on { $0.pauseReading() }
        for index in 1...5 { try peer.send([UInt8(index)], to: server.address) }
        try server.thread.settle()
        #expect(server.recorder.datagrams.count == 1)
        try server.on { $0.resumeReading() }
        #expect(try server.recorder.waitForDatagrams(6) == (0...5).map { [UInt8($0)] })
        try server.join()
    }

    @Test("pausing in every callback loses, repeats and reorders nothing", arguments: cases)
    func pausesInCallback(mode: TransportMode, family: AddressFamily) throws {
        let server = try TestDatagram(mode, family.address) { datagram in
            let timer = LoopTimer(datagram.loop) { datagram.resumeReading() }
            datagram.onReceived = { datagram, bytes, _ in
                datagram.pauseReading()
                if bytes[0] % 3 == 0 { datagram.resumeReading() } else { timer.arm(after: .microseconds(bytes[0])) }
            }
        }
        let peer = try DatagramPeer(family.address)
        for index in 0..<100 { try peer.send([UInt8(index)], to: server.address) }
        #expect(try server.recorder.waitForDatagrams(100) == (0..<100).map { [UInt8($0)] })
        try server.join()
    }

    @Test("datagrams joined by the kernel tell the size of their parts", arguments: TransportMode.available)
    func joined(mode: TransportMode) throws {
        var configuration = DatagramConfiguration()
        configuration.joinsReceived = true
        let server = try TestDatagram(mode, buffers: (count: 8, size: 128 * 1024), configuration: configuration)
        let sender = try TestDatagram(mode)
        let bytes = pattern(10_500)
        try sender.on { _ = $0.send(bytes, to: server.address, segmentSize: 1000) }
        // Over loopback what was split at sending is never cut apart.
        let all = try server.recorder.wait { $0.reduce(0) { $0 + ($1.bytes?.count ?? 0) } >= bytes.count }
        #expect(all.flatMap { $0.bytes ?? [] } == bytes)
        #expect(all.count == 1 && all.first?.header?.segmentSize == 1000)
        #expect(all.first?.header?.isTruncated == false)
        try sender.join()
        try server.join()
    }

    @Test(
        "several channels share a loop's buffers, and each gets its own datagrams", arguments: TransportMode.available)
    func several(mode: TransportMode) throws {
        var configuration = mode.configuration
        configuration.receiveBuffers.count = 4
        configuration.receiveBuffers.size = 512
        let thread = try LoopThread(configuration)
        let recorders = (0..<20).map { _ in Recorder<DatagramHappening>() }
        let sockets = try recorders.map { _ in try Socket.datagram(boundTo: .anyLoopback) }
        let addresses = try sockets.map { try #require(Socket.localAddress(of: $0)) }
        try thread.on { loop in
            for (fd, recorder) in zip(sockets, recorders) { RecordingDatagram(loop, fd: fd, recorder).start() }
        }
        let peer = try DatagramPeer()
        for round in 0..<50 {
            for (index, address) in addresses.enumerated() { try peer.send([UInt8(round), UInt8(index)], to: address) }
        }
        for (index, recorder) in recorders.enumerated() {
            #expect(try recorder.waitForDatagrams(50) == (0..<50).map { [UInt8($0), UInt8(index)] })
        }
        try thread.join()
    }
}
