import Foundation
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Datagrams: sending")
struct DatagramSendTests {
    private static let cases = across(TransportMode.available, AddressFamily.allCases)

    @Test(
        "each datagram is answered to its sender, on either side's transport (netty 65)",
        arguments: across(TransportMode.available, TransportMode.available, AddressFamily.allCases))
    func echo(serverMode: TransportMode, mode: TransportMode, family: AddressFamily) throws {
        let server = try TestDatagram(serverMode, family.address, setUp: RecordingDatagram.echo)
        let client = try TestDatagram(mode, family.address)
        let sent = [[], [1], pattern(1000), pattern(9000)]
        try client.on { for bytes in sent { $0.send(bytes, to: server.address) } }
        #expect(try client.recorder.waitForDatagrams(4) == sent)
        #expect(client.recorder.all.allSatisfy { $0.header?.sender == server.address })
        #expect(try client.on { $0.statistics.sent } == 4)
        #expect(try client.on { $0.statistics.sentBytes } == 10_001)
        try client.join()
        try server.join()
    }

    @Test("a socket that is bound to nothing gets a name by sending (netty 65)", arguments: TransportMode.available)
    func unbound(mode: TransportMode) throws {
        let peer = try DatagramPeer()
        let client = try TestDatagram(mode, fd: Socket.datagram(family: AF_INET))
        try client.on { _ = $0.send([1, 2], to: peer.address) }
        let (bytes, sender) = try peer.receiveWithSender()
        #expect(bytes == [1, 2])
        #expect(sender != nil && sender?.port != 0)
        try peer.send([3], to: try #require(sender))
        #expect(try client.recorder.waitForDatagrams(1) == [[3]])
        try client.join()
    }

    @Test("what is sent before the start goes out with it", arguments: cases)
    func beforeStart(mode: TransportMode, family: AddressFamily) throws {
        let peer = try DatagramPeer(family.address)
        let client = try TestDatagram(mode, family.address) { _ = $0.send([5], to: peer.address) }
        #expect(try peer.receive() == [5])
        try client.join()
    }

    @Test("more than one call's worth goes out in order, several calls a turn", arguments: TransportMode.available)
    func many(mode: TransportMode) throws {
        let fd = try Socket.datagram(boundTo: .anyLoopback)
        _ = Socket.set(fd, SOL_SOCKET, SO_RCVBUF, 4 * 1024 * 1024)
        let server = try TestDatagram(mode, fd: fd)
        let client = try TestDatagram(mode)
        // Above 16 calls of 64: the rest is for the next turn.
        let count = 1200
        try client.on { client in
            for index in 0..<count { client.send([UInt8(index & 255), UInt8(index >> 8)], to: server.address) }
            #expect(client.queuedBytes == 2 * count)
        }
        let received = try server.recorder.waitForDatagrams(min(count, 400))
        #expect(received.first == [0, 0])
        try eventually("all taken") { try client.on { $0.statistics.sent } == UInt64(count) }
        #expect(try client.on { $0.queuedBytes } == 0)
        try server.thread.settle()
        // Loopback drops what the receiver's buffer has no room for, but never reorders.
        let numbers = server.recorder.datagrams.map { Int($0[0]) + Int($0[1]) << 8 }
        #expect(numbers == numbers.sorted() && Set(numbers).count == numbers.count)
        try client.join()
        try server.join()
    }

    @Test("a full queue refuses, counts, and tells when it is empty", arguments: cases)
    func refused(mode: TransportMode, family: AddressFamily) throws {
        let peer = try DatagramPeer(family.address)
        var configuration = DatagramConfiguration()
        configuration.queuedBytesMax = 4096
        let client = try TestDatagram(mode, family.address, configuration: configuration)
        let accepted = try client.on { client in
            #expect(throws: Never.self) { try client.connect(to: peer.address) }
            var accepted = 0
            while client.send(pattern(100)), accepted < 1000 { accepted += 1 }
            #expect(!client.isWritable && client.statistics.refused == 1)
            #expect(client.queuedBytes == accepted * 100 && client.queuedBytes <= 4096)
            return accepted
        }
        #expect(accepted >= 16 && accepted <= 40)
        for _ in 0..<accepted { #expect(try peer.receive() == pattern(100)) }
        try client.recorder.wait { $0.contains(.becameWritable) }
        #expect(try client.on { $0.isWritable && $0.queuedBytes == 0 })
        try client.on { _ = $0.send([1]) }
        #expect(try peer.receive() == [1])
        try client.join()
    }

    @Test("a datagram that the kernel refuses is told and dropped; the next one goes", arguments: cases)
    func tooLong(mode: TransportMode, family: AddressFamily) throws {
        let peer = try DatagramPeer(family.address)
        let fd = try Socket.datagram(boundTo: family.address)
        _ = Socket.set(fd, SOL_SOCKET, SO_SNDBUF, 65536)
        let client = try TestDatagram(mode, fd: fd)
        try client.on { client in
            client.send([1], to: peer.address)
            client.send(pattern(200_000), to: peer.address)
            client.send([2], to: peer.address)
        }
        #expect(try peer.receive() == [1])
        #expect(try peer.receive() == [2])
        #expect(try client.recorder.waitForErrors() == [SystemError("sendmmsg", code: EMSGSIZE)])
        #expect(try client.on { $0.statistics.dropped } == 1)
        try client.join()
    }

    @Test("an address of another family is an error of that datagram alone", arguments: TransportMode.available)
    func otherFamily(mode: TransportMode) throws {
        let peer = try DatagramPeer()
        let client = try TestDatagram(mode)
        try client.on { client in
            client.send([1], to: .ipv6(high: 0, low: 1, port: 9, scope: 0))
            client.send([2], to: peer.address)
        }
        #expect(try peer.receive() == [2])
        #expect(try client.recorder.waitForErrors() == [SystemError("sendmmsg", code: EAFNOSUPPORT)])
        try client.join()
    }

    @Test("segments arrive as datagrams of their own, however many", arguments: cases)
    func segments(mode: TransportMode, family: AddressFamily) throws {
        let peer = try DatagramPeer(family.address)
        _ = Socket.set(peer.fd, SOL_SOCKET, SO_RCVBUF, 4 * 1024 * 1024)
        let client = try TestDatagram(mode, family.address)
        // More segments than the kernel splits at once.
        let bytes = pattern(150 * 300 + 7)
        try client.on { client in
            // Connected, for a Unix-domain peer's queue is short.
            #expect(throws: Never.self) { try client.connect(to: peer.address) }
            client.send(bytes, segmentSize: 300)
        }
        for index in 0..<151 {
            #expect(try peer.receive() == Array(bytes[index * 300..<min(bytes.count, (index + 1) * 300)]))
        }
        try eventually("counted") { try client.on { $0.statistics.sent } == 151 }
        #expect(try client.on { $0.statistics.dropped } == 0)
        try client.join()
    }

    @Test("segments that the kernel will not split are split here", arguments: TransportMode.available)
    func splitsHere(mode: TransportMode) throws {
        let peer = try DatagramPeer()
        let fd = try Socket.datagram(boundTo: .anyLoopback)
        // Without checksums the kernel refuses UDP_SEGMENT with EINVAL.
        #expect(Socket.set(fd, SOL_SOCKET, SO_NO_CHECK, 1))
        let client = try TestDatagram(mode, fd: fd)
        try client.on { client in
            client.send(pattern(2500), to: peer.address, segmentSize: 1000)
            client.send([1], to: peer.address)
        }
        #expect(try peer.receive() == Array(pattern(2500)[..<1000]))
        #expect(try peer.receive() == Array(pattern(2500)[1000..<2000]))
        #expect(try peer.receive() == Array(pattern(2500)[2000...]))
        #expect(try peer.receive() == [1])
        #expect(client.recorder.all.isEmpty, "nothing failed")
        try client.join()
    }

    @Test("a socket without room waits for it, and sends all in order", arguments: TransportMode.available)
    func backPressure(mode: TransportMode) throws {
        // A connected Unix-domain socket waits for its peer's queue, which holds few datagrams.
        let peer = try DatagramPeer(.temporaryUnix())
        let client = try TestDatagram(mode, .temporaryUnix())
        let count = 2000
        try client.on { client in
            #expect(throws: Never.self) { try client.connect(to: peer.address) }
            for index in 0..<count { client.send(pattern(64, seed: UInt64(index))) }
        }
        try client.thread.settle()
        #expect(try client.on { $0.queuedBytes } > 0, "the case was not reached")
        for index in 0..<count { #expect(try peer.receive() == pattern(64, seed: UInt64(index))) }
        #expect(client.recorder.all.isEmpty)
        try client.join()
    }

    @Test(
        "a Unix-domain receiver that does not read loses datagrams, and holds up nobody else",
        arguments: TransportMode.available)
    func fullReceiver(mode: TransportMode) throws {
        let silent = try DatagramPeer(.temporaryUnix())
        let reader = try DatagramPeer(.temporaryUnix())
        let client = try TestDatagram(mode, .temporaryUnix())
        let count = 1000
        try client.on { client in
            for _ in 0..<count { client.send([1], to: silent.address) }
            client.send([2], to: reader.address)
        }
        #expect(try reader.receive() == [2])
        let statistics = try client.on { $0.statistics }
        #expect(statistics.dropped > 0 && statistics.dropped + statistics.sent == UInt64(count) + 1)
        let errors = client.recorder.all.compactMap(\.error)
        #expect(errors.count == Int(statistics.dropped))
        #expect(Set(errors) == [SystemError("sendmmsg", code: EAGAIN)])
        try client.join()
    }

    @Test(
        "a service that sends and closes in the callback of an error does no harm", arguments: TransportMode.available)
    func reentrant(mode: TransportMode) throws {
        let peer = try DatagramPeer()
        let client = try TestDatagram(mode) { client in
            client.onFailed = { client, _ in
                client.send(pattern(5000), to: peer.address)
                client.close()
                #expect(!client.send([9], to: peer.address))
            }
        }
        try client.on { client in
            for _ in 0..<3 { client.send([1], to: .unix(path: "/nowhere")) }
            client.send([2], to: peer.address)
        }
        #expect(try client.recorder.waitForEnd() == .closed)
        #expect(client.recorder.all.compactMap(\.error).count == 1, "nothing is told after close()")
        #expect(try peer.receive() == [2], "close() sends what there is room for")
        #expect(try peer.receive() == pattern(5000))
        try client.join()
    }
}
