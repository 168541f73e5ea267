import Foundation
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Event loop: receive buffers that grow, are shared and adapt")
struct ReceiveBufferSharingTests {
    @Test("exhausted buffers grow to their bound and no further (netty 21)", arguments: TransportMode.available)
    func growth(mode: TransportMode) throws {
        var configuration = mode.configuration
        configuration.receiveBuffers.count = 1
        configuration.receiveBuffers.countMax = 5
        configuration.receiveBuffers.size = 256
        let server = try TestServer(.anyLoopback, configuration, setUp: RecordingConnection.echo)
        let before = try server.thread.on { $0.statistics }
        #expect(before.receiveBufferCountMax - before.receiveBufferCount == 4)
        try ReceiveBufferTests.exchange([server.address], connections: 100, bytesEach: 10_000)
        let after = try server.thread.on { $0.statistics }
        #expect(after.receiveBuffersExhausted > 0, "the case was not reached")
        #expect(after.receiveBufferCount == before.receiveBufferCountMax)
        #expect(after.receiveBufferCountMax == before.receiveBufferCountMax)
        try server.join()
    }

    @Test(
        "TCP and Unix-domain connections that share a few buffers get their own bytes",
        arguments: TransportMode.available)
    func families(mode: TransportMode) throws {
        var configuration = mode.configuration
        configuration.receiveBuffers.count = 4
        configuration.receiveBuffers.size = 1024
        let server = try TestServer(.anyLoopback, configuration, setUp: RecordingConnection.echo)
        let unix = SocketAddress.temporaryUnix()
        let fd = try Socket.listen(unix, backlog: 1024)
        let recorder = server.recorder
        try server.thread.on { loop in
            Listener(loop, fd: fd) { fd in
                let accepted = RecordingConnection(loop, fd: fd, recorder)
                RecordingConnection.echo(accepted)
                accepted.start()
            }.resume()
        }
        try ReceiveBufferTests.exchange([server.address, unix], connections: 100, bytesEach: 50_000)
        try server.join()
    }

    @Test(
        "a connection that floods takes no more than its share of the buffers in a turn",
        .enabled(if: UringAvailability.limitsReceivesHere, "this kernel's ring cannot limit receives"),
        arguments: TransportMode.available)
    func flood(mode: TransportMode) throws {
        var configuration = mode.configuration
        configuration.receiveBuffers.count = 16
        configuration.receiveBuffers.size = 1024
        let perTurn = Recorder<[UInt64: Int]>()
        let server = try TestServer(.anyLoopback, configuration) { connection in
            connection.recordsData = false
            var bytesOfTurn: [UInt64: Int] = [:]
            connection.onReceived = { connection, bytes in
                bytesOfTurn[connection.loop.statistics.turns, default: 0] += bytes.count
                if bytes.first == UInt8(ascii: "p") { connection.write(bytes) }
            }
            connection.onClosed = { _ in perTurn.record(bytesOfTurn) }
        }
        let flooder = try Peer(connectingTo: server.address)
        let total = 4_000_000
        let sent = Recorder<Bool>()
        Thread.detachNewThread {
            sent.record((try? flooder.send([UInt8](repeating: UInt8(ascii: "f"), count: total))) != nil)
            flooder.finishOutput()
        }
        let peer = try Peer(connectingTo: server.address)
        for _ in 0..<200 {
            try peer.send("ping")
            #expect(try peer.receive(exactly: 4) == Array("ping".utf8))
        }
        #expect(try sent.next(within: 20))
        let flood = try perTurn.next(within: 20)
        #expect(flood.values.reduce(0, +) == total)
        // The limit of 4 KiB may be passed by what the last buffer still takes.
        #expect(flood.values.max()! < 4096 + 1024)
        try server.join()
    }

    @Test(
        "sizes follow what is read: full reads are given more room, up to the buffer's size (netty 23)",
        arguments: TransportMode.available)
    func adaptive(mode: TransportMode) throws {
        var configuration = mode.configuration
        // Sizes that adapt are for buffers that are not shared.
        configuration.receiveBuffers.isIncremental = false
        configuration.receiveBuffers.count = 2
        configuration.receiveBuffers.size = 8192
        configuration.receiveBuffers.sizeMin = 512
        let server = try TestServer(.anyLoopback, configuration, reading: false)
        let peer = try Peer(connectingTo: server.address)
        let bytes = pattern(40_000)
        try peer.send(bytes)
        try eventually("the bytes wait") {
            try server.first { connection in
                var waiting: Int32 = 0
                return ioctl(connection.fd, UInt(FIONREAD), &waiting) == 0 && Int(waiting) == bytes.count
            }
        }
        try server.first { $0.resumeReading() }
        #expect(try server.recorder.waitForBytes(bytes.count) == bytes)
        var lengths: [Int] = []
        for case .received(let piece) in server.recorder.all { lengths.append(piece.count) }
        // Both buffers had been given with the first size before anything was learned, and so on.
        #expect(lengths.first == 512 && lengths.contains(2048) && lengths.contains(8192) && lengths.max() == 8192)
        #expect(lengths.dropLast() == lengths.dropLast().sorted()[...])
        try server.join()
    }
}
