import Foundation
import Testing

@testable import Transport
@testable import TransportTesting

/// Received bytes that are written on are sent from the receive buffer they lie in.
@Suite("Event loop: receive buffers lent to what is written")
struct ReceiveBufferLendingTests {
    private static let bufferCount = 16
    private static let bufferSize = 8192

    private static func configuration(_ mode: TransportMode) -> EventLoopConfiguration {
        var configuration = mode.configuration
        configuration.receiveBuffers.count = UInt32(bufferCount)
        configuration.receiveBuffers.size = UInt32(bufferSize)
        return configuration
    }

    /// Buffers that several receives fill are not lent.
    private static let lending = TransportMode.available.filter { $0 != .incremental }

    private static func lentCount(_ server: TestServer) throws -> Int {
        try server.thread.on { $0.state.pointee.receiveBuffers.lentCount }
    }

    /// Every buffer is the handler's again, and no memory is taken.
    private static func expectNothingLent(_ server: TestServer) throws {
        try eventually("buffers come back") { try lentCount(server) == 0 }
        let (chunks, held) = try server.thread.on { loop in
            (loop.chunks.takenCount, loop.state.pointee.receiveBuffers.heldCount)
        }
        #expect(chunks == 0 && held == 0)
    }

    @Test("peers who do not read keep half of the buffers at most, and the others go on", arguments: lending)
    func halfAtMost(mode: TransportMode) throws {
        let server = try TestServer(
            .anyLoopback, Self.configuration(mode), sendBuffer: 4096, setUp: RecordingConnection.echo)
        let total = 400_000
        let stuck = try (0..<20).map { _ in try Peer(connectingTo: server.address, receiveBuffer: 4096) }
        for (index, peer) in stuck.enumerated() {
            Thread.detachNewThread {
                // Ends early with its peer, if the test does.
                try? peer.send(pattern(total, seed: UInt64(index)))
                peer.finishOutput()
            }
        }
        try eventually("half is lent") { try Self.lentCount(server) == Self.bufferCount / 2 }
        let other = try Peer(connectingTo: server.address)
        for step in 0..<50 {
            let bytes = pattern(5000, seed: UInt64(1000 + step))
            try other.send(bytes)
            #expect(try other.receive(exactly: bytes.count) == bytes)
            #expect(try Self.lentCount(server) <= Self.bufferCount / 2)
        }
        for (index, peer) in stuck.enumerated() {
            #expect(try peer.receiveToEnd() == pattern(total, seed: UInt64(index)))
        }
        try Self.expectNothingLent(server)
        try server.join()
    }

    @Test("connections that end with lent buffers queued give them back", arguments: lending, [true, false])
    func ended(mode: TransportMode, byPeer: Bool) throws {
        let server = try TestServer(
            .anyLoopback, Self.configuration(mode), sendBuffer: 4096, setUp: RecordingConnection.echo)
        for round in 0..<5 {
            let peer = try Peer(connectingTo: server.address, receiveBuffer: 4096)
            // More than the sockets hold, less than makes the sender wait for ever: the server reads all of it.
            try peer.send(pattern(200_000, seed: UInt64(round)))
            try eventually("some are lent") { try Self.lentCount(server) > 0 }
            if byPeer {
                peer.reset()
            } else {
                let box = try server.connections.wait { $0.count == round + 1 }[round]
                try server.thread.on { _ in box.connection.close() }
            }
            try server.recorder.wait { $0.count { $0.isClosed } == round + 1 }
            try Self.expectNothingLent(server)
        }
        try server.join()
    }

    @Test(
        "bytes outlive the connection that brought them, written on whole, in part and to several",
        arguments: lending)
    func writtenOn(mode: TransportMode) throws {
        let server = try TestServer(.anyLoopback, Self.configuration(mode), sendBuffer: 4096) { connection in
            connection.recordsData = false
        }
        let readers = try (0..<2).map { _ in try Peer(connectingTo: server.address, receiveBuffer: 4096) }
        let targets = try server.connections.wait { $0.count == 2 }
        let writer = try Peer(connectingTo: server.address)
        let source = try server.connections.wait { $0.count == 3 }[2]
        let total = 200_000
        try server.thread.on { _ in
            source.connection.onSpan = { _, bytes in
                bytes.withUnsafeBytes { bytes in
                    let half = bytes.count / 2
                    targets[0].connection.write(UnsafeRawBufferPointer(rebasing: bytes[..<half]))
                    targets[0].connection.write(UnsafeRawBufferPointer(rebasing: bytes[half...]))
                    targets[1].connection.write(bytes)
                }
            }
        }
        try writer.send(pattern(total))
        writer.finishOutput()
        try server.recorder.wait { $0.contains { $0.isClosed } }
        #expect(try Self.lentCount(server) > 0, "the case was not reached")
        for reader in readers { #expect(try reader.receive(exactly: total) == pattern(total)) }
        for reader in readers { reader.finishOutput() }
        try server.recorder.wait { $0.count { $0.isClosed } == 3 }
        try Self.expectNothingLent(server)
        try server.join()
    }

    /// Its end is not waited for when the loop frees its buffers.
    @Test("a connection that is not started is lent nothing", arguments: lending)
    func notStarted(mode: TransportMode) throws {
        let server = try TestServer(.anyLoopback, Self.configuration(mode), setUp: RecordingConnection.echo)
        let peer = try Peer(connectingTo: server.address)
        let box = try server.connections.wait { $0.count == 1 }[0]
        let pair = try TCPPair()
        let fd = dup(pair.left.fd)
        let target = try server.thread.on { loop in
            ConnectionBox(RecordingConnection(loop, fd: fd, server.recorder))
        }
        let total = 50_000
        try server.thread.on { _ in
            var received = 0
            box.connection.onSpan = { _, bytes in
                bytes.withUnsafeBytes { _ = target.connection.write($0) }
                #expect(target.connection.loop.state.pointee.receiveBuffers.lentCount == 0)
                received += bytes.byteCount
                if received == total { target.connection.start() }
            }
        }
        try peer.send(pattern(total))
        #expect(try pair.right.receive(exactly: total) == pattern(total))
        try Self.expectNothingLent(server)
        try server.join()
    }

    @Test("small pieces, and those of shared buffers, are copied", arguments: TransportMode.available)
    func copied(mode: TransportMode) throws {
        var configuration = Self.configuration(mode)
        if mode != .incremental { configuration.receiveBuffers.size = UInt32(Chunk.lentMin - 1) }
        let server = try TestServer(.anyLoopback, configuration, sendBuffer: 4096, setUp: RecordingConnection.echo)
        let peer = try Peer(connectingTo: server.address, receiveBuffer: 4096)
        let total = 200_000
        try peer.send(pattern(total))
        try eventually("bytes are queued") { try server.first { $0.queuedBytes } > 10_000 }
        #expect(try Self.lentCount(server) == 0)
        #expect(try peer.receive(exactly: total) == pattern(total))
        try server.join()
    }
}
