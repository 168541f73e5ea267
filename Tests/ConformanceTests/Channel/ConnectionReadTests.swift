import Foundation
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Connection: reading")
struct ConnectionReadTests {
    /// Waits until the peer's bytes are in the socket, and shows that they stay there.
    private func expectUnread(_ server: TestServer, _ count: Int32) throws {
        try eventually("bytes in the socket") { try server.first { Peer.unreadBytes($0.fd) } == count }
        try server.thread.settle()
        #expect(try server.first { Peer.unreadBytes($0.fd) } == count)
        #expect(server.recorder.all == [])
    }

    @Test(
        "started without reading, nothing is read until reading is resumed (netty 38, 39)",
        arguments: TransportMode.available, AddressFamily.allCases)
    func startsPaused(mode: TransportMode, family: AddressFamily) throws {
        let server = try TestServer(mode, family.address, reading: false)
        let peer = try Peer(connectingTo: server.address)
        try peer.send("hello")
        try expectUnread(server, 5)
        try server.first { $0.resumeReading() }
        #expect(try server.recorder.waitForBytes(5) == Array("hello".utf8))
        try server.join()
    }

    @Test(
        "paused between two messages, the second is read after reading is resumed (netty 38)",
        arguments: TransportMode.available)
    func pausedOutside(mode: TransportMode) throws {
        let server = try TestServer(mode)
        let peer = try Peer(connectingTo: server.address)
        try peer.send("one")
        #expect(try server.recorder.waitForBytes(3) == Array("one".utf8))
        try server.first { $0.pauseReading() }
        try server.thread.settle()
        try peer.send("two")
        try eventually("two in the socket") { try server.first { Peer.unreadBytes($0.fd) } == 3 }
        try server.thread.settle()
        #expect(server.recorder.bytes == Array("one".utf8))
        try server.first { connection in
            #expect(!connection.isReading && connection.bytesReceived == 3)
            connection.resumeReading()
            #expect(connection.isReading)
        }
        #expect(try server.recorder.waitForBytes(6) == Array("onetwo".utf8))
        try server.join()
    }

    @Test(
        "pausing in received() stops it at once; each resumption, by the loop or another thread, goes on (netty 40)",
        arguments: TransportMode.available)
    func pausedInside(mode: TransportMode) throws {
        let server = try TestServer(mode) { connection in
            connection.onReceived = { connection, _ in connection.pauseReading() }
        }
        let peer = try Peer(connectingTo: server.address)
        let data = pattern(300_000)
        let isSent = Recorder<Bool>()
        Thread.detachNewThread { isSent.record((try? peer.send(data)) != nil) }
        var calls = 1
        try server.recorder.wait { $0.count == 1 }
        while server.recorder.bytes.count < data.count {
            try server.thread.settle()
            #expect(server.recorder.all.count == calls, "received() was called while reading was paused")
            if calls % 2 == 0 {
                try server.first { $0.resumeReading() }
            } else {
                try server.first { connection in
                    LoopTimer(connection.loop) { connection.resumeReading() }.arm(after: .zero)
                }
            }
            calls += 1
            try server.recorder.wait { $0.count == calls }
        }
        #expect(server.recorder.bytes == data)
        #expect(try isSent.next())
        try server.join()
    }

    @Test("pausing and resuming in the same received() stalls nothing (netty 41)", arguments: TransportMode.available)
    func pausedAndResumed(mode: TransportMode) throws {
        let server = try TestServer(mode) { connection in
            connection.recordsData = false
            connection.onReceived = { connection, bytes in
                connection.pauseReading()
                connection.resumeReading()
                connection.write(bytes)
            }
        }
        let peer = try Peer(connectingTo: server.address)
        for round in 0..<200 {
            let message = pattern(100, seed: UInt64(round))
            try peer.send(message)
            #expect(try peer.receive(exactly: 100) == message)
        }
        try server.join()
    }

    @Test(
        "paused and resumed at random under traffic, every byte arrives once and in order",
        arguments: TransportMode.available, UInt64(1)...12)
    func storm(mode: TransportMode, seed: UInt64) throws {
        var configuration = mode.configuration
        configuration.receiveBuffers.count = 8
        configuration.receiveBuffers.size = 1024
        let endless = EndlessPattern(seed: seed)
        let total = 400_000
        let wrong = Recorder<Int>()
        let server = try TestServer(AddressFamily.allCases[Int(seed % 3)].address, configuration) { connection in
            connection.recordsData = false
            let loop = connection.loop
            var generator = SeededGenerator(seed: seed)
            var position = 0
            connection.onReceived = { connection, bytes in
                if !connection.isReading || !endless.matches(bytes, at: position) { wrong.record(position) }
                position += bytes.count
                for _ in 0..<Int.random(in: 0...3, using: &generator) {
                    connection.pauseReading()
                    if Bool.random(using: &generator) { connection.resumeReading() }
                }
                if connection.isReading { return }
                LoopTimer(loop) {
                    connection.resumeReading()
                    if position % 5 == 0 { connection.pauseReading() }
                    if position % 3 != 0 { connection.resumeReading() }
                    // The last word is always to resume.
                    LoopTimer(loop) { connection.resumeReading() }.arm(after: .zero)
                }.arm(after: .microseconds(Int.random(in: 0...200, using: &generator)))
            }
        }
        let peer = try Peer(connectingTo: server.address)
        var sent = 0
        while sent < total {
            let count = min(total - sent, 50_000)
            try peer.send(Array(endless.piece(at: sent, count: count)))
            sent += count
        }
        peer.finishOutput()
        #expect(try server.recorder.waitForEnd() == .finished)
        #expect(wrong.all == [])
        #expect(try server.first { $0.bytesReceived } == UInt64(total))
        #expect(server.recorder.all.count { $0 == .inputEnded } == 1)
        try server.join()
    }

    @Test(
        "a service that pauses in every received() never has more parked than the receive buffers hold",
        arguments: TransportMode.available, AddressFamily.allCases)
    func parkedIsBounded(mode: TransportMode, family: AddressFamily) throws {
        // Buffers far larger than the chunks that parked bytes are told in.
        var configuration = mode.configuration
        configuration.receiveBuffers.count = 2
        configuration.receiveBuffers.size = 128 * 1024
        let most = Recorder<Int>()
        let total = 8 << 20
        let server = try TestServer(family.address, configuration) { connection in
            connection.recordsData = false
            let loop = connection.loop
            var highest = 0
            connection.onReceived = { connection, bytes in
                highest = max(highest, connection.parkedBytes)
                connection.pauseReading()
                LoopTimer(loop) { connection.resumeReading() }.arm(after: .zero)
            }
            connection.onClosed = { _ in most.record(highest) }
        }
        let peer = try Peer(connectingTo: server.address)
        try peer.send([UInt8](repeating: 7, count: total))
        peer.finishOutput()
        #expect(try server.recorder.waitForEnd() == .finished)
        #expect(try most.next() <= 2 * 128 * 1024)
        #expect(try server.first { $0.bytesReceived } == UInt64(total))
        #expect(try server.thread.on { $0.chunks.takenCount } == 0)
        try server.join()
    }

    @Test(
        "paused, the peer's FIN is told as ending; resumed, all bytes come and then the end (netty 44)",
        arguments: TransportMode.available, AddressFamily.allCases)
    func finWhilePaused(mode: TransportMode, family: AddressFamily) throws {
        let server = try TestServer(mode, family.address, reading: false)
        let peer = try Peer(connectingTo: server.address)
        try peer.send(pattern(100))
        peer.finishOutput()
        try server.recorder.wait { $0 == [.inputEnding] }
        try server.thread.settle()
        #expect(server.recorder.all == [.inputEnding])
        try server.first { $0.resumeReading() }
        #expect(try server.recorder.waitForEnd() == .finished)
        #expect(server.recorder.bytes == pattern(100))
        #expect(server.recorder.events == [.inputEnding, .inputEnded, .closed(.finished)])
        try server.join()
    }

    @Test(
        "the FIN is told as ending although reading was resumed for a moment when it came",
        arguments: TransportMode.available)
    func finDuringResumption(mode: TransportMode) throws {
        let server = try TestServer(mode) { $0.onReceived = { connection, _ in connection.pauseReading() } }
        let peer = try Peer(connectingTo: server.address)
        for round in 1...20 {
            try peer.send("x")
            try server.recorder.wait { $0.count == round }
            try server.thread.settle()
            try server.first { connection in
                connection.resumeReading()
                // FIN comes while reading is wanted, with bytes before it whose arrival pauses reading again.
                guard round == 20 else { return }
                try? peer.send("y")
                peer.finishOutput()
            }
        }
        try server.recorder.wait { $0.contains(.inputEnding) }
        #expect(server.recorder.events == [.inputEnding])
        #expect(server.recorder.bytes.count == 21)
        try server.first { $0.resumeReading() }
        #expect(try server.recorder.waitForEnd() == .finished)
        #expect(server.recorder.events == [.inputEnding, .inputEnded, .closed(.finished)])
        try server.join()
    }

    @Test(
        "paused, the peer's RST ends the connection", arguments: TransportMode.available,
        [SocketAddress.anyLoopback, .anyLoopbackV6])
    func resetWhilePaused(mode: TransportMode, address: SocketAddress) throws {
        let server = try TestServer(mode, address, reading: false)
        let peer = try Peer(connectingTo: server.address)
        try peer.send("unread")
        peer.reset()
        #expect(try server.recorder.waitForEnd() == .reset)
        #expect(server.recorder.bytes == [])
        try server.join()
    }

    @Test(
        "RST and FIN are told apart while reading", arguments: TransportMode.available,
        [SocketAddress.anyLoopback, .anyLoopbackV6])
    func resetOrEnd(mode: TransportMode, address: SocketAddress) throws {
        let reset = try TestServer(mode, address)
        try Peer(connectingTo: reset.address).reset()
        #expect(try reset.recorder.waitForEnd() == .reset)
        #expect(reset.recorder.all == [.closed(.reset)])
        try reset.join()
        let ended = try TestServer(mode, address)
        try Peer(connectingTo: ended.address).close()
        #expect(try ended.recorder.waitForEnd() == .finished)
        #expect(ended.recorder.all == [.inputEnded, .closed(.finished)])
        try ended.join()
    }

    @Test(
        "a Unix-domain peer that closes with bytes unread ends the connection as a reset",
        arguments: TransportMode.available)
    func unixReset(mode: TransportMode) throws {
        let server = try TestServer(mode, .temporaryUnix()) { connection in connection.write("never read") }
        let peer = try Peer(connectingTo: server.address)
        try server.recorder.wait { $0 == [.flushed] }
        peer.close()
        #expect(try server.recorder.waitForEnd() == .reset)
        try server.join()
    }

    @Test(
        "a peer that resets after its FIN is noticed though nothing is read or written",
        arguments: TransportMode.available, [false, true])
    func resetAfterFin(mode: TransportMode, isPaused: Bool) throws {
        let server = try TestServer(mode, reading: !isPaused) { $0.onInputEnded = { _ in } }
        let peer = try Peer(connectingTo: server.address)
        peer.finishOutput()
        try server.recorder.wait { $0 == [isPaused ? .inputEnding : .inputEnded] }
        try server.thread.settle()
        peer.reset()
        #expect(try server.recorder.waitForEnd() == .reset)
        try server.join()
    }

    @Test(
        "a peer that is idle after its FIN costs the loop no turns", arguments: TransportMode.available,
        AddressFamily.allCases)
    func idleAfterFin(mode: TransportMode, family: AddressFamily) throws {
        let server = try TestServer(mode, family.address, reading: false) { $0.onInputEnded = { _ in } }
        let peer = try Peer(connectingTo: server.address)
        peer.finishOutput()
        try server.recorder.wait { $0 == [.inputEnding] }
        try server.thread.settle()
        let before = try server.thread.on { $0.statistics.completions }
        for _ in 0..<20 { try server.thread.on { _ in } }
        let after = try server.thread.on { $0.statistics.completions }
        // Each of our own tasks wakes the loop with at most one completion.
        #expect(after - before <= 22)
        try server.join()
    }
}
