import Foundation
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Connection: writing")
struct ConnectionWriteTests {
    @Test("the high water mark may be reached, and is exceeded by one byte more", arguments: TransportMode.available)
    func highWaterMark(mode: TransportMode) throws {
        var configuration = ConnectionConfiguration()
        (configuration.highWaterMark, configuration.lowWaterMark) = (1000, 10)
        let server = try TestServer(mode, connection: configuration)
        let peer = try Peer(connectingTo: server.address)
        try server.first { connection in
            connection.write(pattern(999))
            #expect(connection.isWritable)
            connection.write([1])
            #expect(connection.isWritable && connection.queuedBytes == 1000)
            connection.write([2])
            #expect(!connection.isWritable && connection.queuedBytes == 1001)
        }
        try server.recorder.wait { $0 == [.becameWritable, .flushed] }
        #expect(try peer.receive(exactly: 1001) == pattern(999) + [1, 2])
        try server.first { #expect($0.isWritable && $0.queuedBytes == 0 && $0.bytesSent == 1001) }
        try server.join()
    }

    @Test(
        "writability comes back once per time it was lost, at or below the low water mark, never above",
        arguments: TransportMode.available, AddressFamily.allCases)
    func lowWaterMark(mode: TransportMode, family: AddressFamily) throws {
        var configuration = ConnectionConfiguration()
        (configuration.highWaterMark, configuration.lowWaterMark) = (200_000, 100_000)
        let marks = Recorder<Int>()
        let losses = Recorder<Int>()
        let total = 4_000_000
        let server = try TestServer(mode, family.address, connection: configuration, sendBuffer: 16_384) { connection in
            var written = 0
            func fill(_ connection: RecordingConnection) {
                while connection.isWritable, written < total {
                    connection.write([UInt8](repeating: 1, count: 9_999))
                    written += 9_999
                }
                if !connection.isWritable { losses.record(written) } else { connection.finishOutput() }
            }
            connection.onWritable = { connection in
                marks.record(connection.queuedBytes)
                #expect(connection.isWritable)
                fill(connection)
            }
            fill(connection)
        }
        let peer = try Peer(connectingTo: server.address, receiveBuffer: 16_384)
        var received = 0
        while case let part = try peer.receive(), !part.isEmpty { received += part.count }
        #expect(received >= total)
        #expect(marks.all.allSatisfy { $0 <= 100_000 } && marks.all.count == losses.all.count)
        #expect(marks.all.count > 10, "the case was not reached often enough")
        try server.join()
    }

    @Test(
        "100 MiB driven by becameWritable() alone arrive byte-exact (netty 55, 58)",
        arguments: TransportMode.available, [AddressFamily.ipv4, .unix])
    func drivenByWritability(mode: TransportMode, family: AddressFamily) throws {
        let total = 100 << 20
        let endless = EndlessPattern()
        var configuration = ConnectionConfiguration()
        (configuration.highWaterMark, configuration.lowWaterMark) = (256 * 1024, 128 * 1024)
        let server = try TestServer(mode, family.address, connection: configuration) { connection in
            var written = 0
            connection.onWritable = { connection in
                while connection.isWritable, written < total {
                    let piece = endless.piece(at: written, count: min(100_000, total - written))
                    _ = piece.withUnsafeBytes { connection.write($0) }
                    written += piece.count
                }
                if written == total { connection.finishOutput() }
            }
            connection.onWritable?(connection)
        }
        let peer = try Peer(connectingTo: server.address)
        var received = 0
        while case let part = try peer.receive(upTo: 1 << 18), !part.isEmpty {
            try #require(endless.matches(part, at: received))
            received += part.count
        }
        #expect(received == total)
        try server.join()
    }

    @Test(
        "random pieces, empty ones too, written at once arrive in order, and all memory is given back (netty 55, 59)",
        arguments: TransportMode.available, UInt64(1)...4)
    func randomPieces(mode: TransportMode, seed: UInt64) throws {
        let endless = EndlessPattern(seed: seed)
        let total = 10 << 20
        let server = try TestServer(mode, AddressFamily.allCases[Int(seed % 3)].address)
        let peer = try Peer(connectingTo: server.address)
        try server.first { connection in
            var generator = SeededGenerator(seed: seed)
            var written = 0
            while written < total {
                let count = min(
                    [0, 1, 17, 4096, 16_367, 16_368, 16_369, 200_000].randomElement(using: &generator)!, total - written
                )
                #expect(endless.piece(at: written, count: count).withUnsafeBytes { connection.write($0) })
                written += count
            }
            connection.write([UInt8]())
            connection.finishOutput()
        }
        var received = 0
        while case let part = try peer.receive(upTo: 1 << 18), !part.isEmpty {
            try #require(endless.matches(part, at: received))
            received += part.count
        }
        #expect(received == total)
        peer.finishOutput()
        #expect(try server.recorder.waitForEnd() == .finished)
        #expect(server.recorder.all.count { $0 == .flushed } == 1)
        #expect(try server.thread.on { $0.chunks.takenCount } == 0)
        try server.join()
    }

    /// Left to wait in the kernel, each of these sends would come to block a thread of io-wq, of which a ring has four.
    @Test("peers who have sent FIN and do not read hold nobody else up", arguments: TransportMode.available)
    func stuckAfterFIN(mode: TransportMode) throws {
        let server = try TestServer(mode, sendBuffer: 4096, setUp: RecordingConnection.echo)
        let total = 100_000
        let stuck = try (0..<12).map { _ in try Peer(connectingTo: server.address, receiveBuffer: 4096) }
        for peer in stuck {
            try peer.send(pattern(total))
            peer.finishOutput()
        }
        try server.recorder.wait { $0.count { $0 == .inputEnded } == stuck.count }
        for seed in UInt64(1)...3 {
            let other = try Peer(connectingTo: server.address)
            try other.send(pattern(total, seed: seed))
            other.finishOutput()
            #expect(try other.receiveToEnd() == pattern(total, seed: seed))
        }
        for peer in stuck { #expect(try peer.receiveToEnd() == pattern(total)) }
        try server.recorder.wait { $0.count { $0.isClosed } == stuck.count + 3 }
        try server.join()
    }

    @Test(
        "a tiny send buffer and a slow reader: short sends lose and repeat nothing (netty 56)",
        arguments: TransportMode.available, AddressFamily.allCases)
    func tinySendBuffer(mode: TransportMode, family: AddressFamily) throws {
        let server = try TestServer(mode, family.address, sendBuffer: 1024) { connection in
            for part in [100_000, 1, 50_000, 300_000] { connection.write(pattern(part, seed: UInt64(part))) }
            connection.finishOutput()
        }
        let peer = try Peer(connectingTo: server.address, receiveBuffer: 1024)
        let expected = [100_000, 1, 50_000, 300_000].flatMap { pattern($0, seed: UInt64($0)) }
        var received: [UInt8] = []
        while case let part = try peer.receive(upTo: Int.random(in: 1...9000)), !part.isEmpty { received += part }
        #expect(received == expected)
        try server.join()
    }

    @Test(
        "after finishOutput() nothing can be written, and what was queued still arrives (netty 51)",
        arguments: TransportMode.available)
    func writeAfterFinish(mode: TransportMode) throws {
        let server = try TestServer(mode)
        let peer = try Peer(connectingTo: server.address)
        try server.first { connection in
            #expect(connection.write("before"))
            connection.finishOutput()
            #expect(!connection.write("after") && connection.isWritable && connection.isOutputFinished)
            connection.finishOutput()
        }
        #expect(try peer.receiveToEnd() == Array("before".utf8))
        try server.join()
    }

    @Test(
        "finishOutput() during a send: the rest is sent first, then the end (shutdown during a send)",
        arguments: TransportMode.available, AddressFamily.allCases)
    func finishDuringSend(mode: TransportMode, family: AddressFamily) throws {
        let server = try TestServer(mode, family.address, sendBuffer: 4096)
        let peer = try Peer(connectingTo: server.address, receiveBuffer: 4096)
        try server.first { $0.write(pattern(2 << 20)) }
        try server.thread.settle()
        try server.first { connection in
            #expect(connection.queuedBytes > 0, "the case was not reached")
            connection.finishOutput()
        }
        #expect(try peer.receiveToEnd() == pattern(2 << 20))
        #expect(try server.first { $0.isOutputFinished && !$0.isInputEnded })
        try server.join()
    }

    @Test(
        "writing to a peer that is gone raises no SIGPIPE",
        arguments: TransportMode.available, AddressFamily.allCases)
    func noSignal(mode: TransportMode, family: AddressFamily) async {
        await #expect(processExitsWith: .success) { [mode, family] in
            signal(SIGPIPE, SIG_DFL)
            let server = try TestServer(mode, family.address, reading: false)
            let peer = try Peer(connectingTo: server.address)
            peer.close()
            try server.recorder.wait { $0 == [.inputEnding] }
            let box = try server.connections.wait { !$0.isEmpty }[0]
            try eventually("reset") {
                try server.thread.on { _ in _ = box.connection.write("anybody?") }
                return server.recorder.all.last == .closed(.reset)
            }
            try server.join()
        }
    }

    @Test(
        "a writer that does not heed isWritable is cut off at queuedBytesMax, and not before",
        arguments: TransportMode.available)
    func overflow(mode: TransportMode) throws {
        var configuration = ConnectionConfiguration()
        configuration.queuedBytesMax = 1 << 20
        let server = try TestServer(mode, connection: configuration)
        let peer = try Peer(connectingTo: server.address)
        try server.first { connection in
            #expect(connection.write(pattern(1 << 20)))
            #expect(!connection.write([0]))
            #expect(!connection.write([0]))
        }
        #expect(try server.recorder.waitForEnd() == .writeQueueOverflow)
        #expect(try server.thread.on { $0.chunks.takenCount } == 0)
        #expect(peer.receiveError() == ECONNRESET)
        try server.join()
    }

    @Test("flushed() comes when the kernel has taken everything, once per time", arguments: TransportMode.available)
    func flushed(mode: TransportMode) throws {
        let server = try TestServer(mode)
        let peer = try Peer(connectingTo: server.address)
        for round in 1...10 {
            try server.first { connection in
                for _ in 0..<3 { connection.write("abc") }
            }
            #expect(try peer.receive(exactly: 9).count == 9)
            try server.recorder.wait { $0.count == round }
        }
        try server.thread.settle()
        #expect(server.recorder.all == [Happening](repeating: .flushed, count: 10))
        try server.join()
    }

    @Test(
        "writing to a peer that is gone ends the connection as a reset, though reading is paused",
        arguments: TransportMode.available, AddressFamily.allCases)
    func peerIsGone(mode: TransportMode, family: AddressFamily) throws {
        let server = try TestServer(mode, family.address, reading: false)
        let peer = try Peer(connectingTo: server.address)
        peer.close()
        try server.recorder.wait { $0 == [.inputEnding] }
        // The first write may only call forth the RST that the second one meets.
        let box = try server.connections.wait { !$0.isEmpty }[0]
        try eventually("reset") {
            try server.thread.on { _ in _ = box.connection.write("anybody?") }
            return server.recorder.all.last == .closed(.reset)
        }
        try server.join()
    }
}
