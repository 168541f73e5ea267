import Foundation
import Synchronization
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Event loop: scarce receive buffers and completions")
struct ReceiveBufferTests {
    /// Sends and checks over many connections at once, to each address in turn; each connection has a pattern of its own.
    static func exchange(
        _ addresses: [SocketAddress], connections: Int, bytesEach: Int, within seconds: Double = 20
    ) throws {
        let peers = try (0..<connections).map { try Peer(connectingTo: addresses[$0 % addresses.count]) }
        let done = Recorder<Bool>()
        let senders = 8
        for sender in 0..<senders {
            Thread.detachNewThread {
                for index in stride(from: sender, to: connections, by: senders) {
                    let isSent = (try? peers[index].send(pattern(bytesEach, seed: UInt64(index)))) != nil
                    peers[index].finishOutput()
                    if !isSent { done.record(false) }
                }
            }
            Thread.detachNewThread {
                for index in stride(from: sender, to: connections, by: senders) {
                    let echoed = try? peers[index].receiveToEnd()
                    done.record(echoed == pattern(bytesEach, seed: UInt64(index)))
                }
            }
        }
        let results = try done.wait(within: seconds) { $0.count >= connections }
        #expect(results == [Bool](repeating: true, count: connections))
    }

    @Test(
        "two small buffers serve 200 connections: every byte arrives, nobody starves (netty 21)",
        arguments: TransportMode.available)
    func exhaustion(mode: TransportMode) throws {
        var configuration = mode.configuration
        configuration.receiveBuffers.count = 2
        configuration.receiveBuffers.size = 512
        let server = try TestServer(.anyLoopback, configuration, setUp: RecordingConnection.echo)
        try Self.exchange([server.address], connections: 200, bytesEach: 10_000)
        let statistics = try server.thread.on { $0.statistics }
        #expect(statistics.receiveBuffersExhausted > 0, "the case was not reached")
        try server.recorder.wait { $0.count { $0.isClosed } == 200 }
        #expect(try server.thread.on { $0.chunks.takenCount } == 0)
        try server.join()
    }

    @Test(
        "connections that pause while they wait for buffers do not hold up those behind them",
        arguments: TransportMode.available)
    func pausedWhileStarved(mode: TransportMode) throws {
        var configuration = mode.configuration
        configuration.receiveBuffers.count = 2
        configuration.receiveBuffers.size = 256
        let server = try TestServer(.anyLoopback, configuration) { connection in
            connection.recordsData = false
            let loop = connection.loop
            var turns = 0
            connection.onReceived = { connection, bytes in
                connection.write(bytes)
                turns += 1
                guard turns % 3 == 0 else { return }
                connection.pauseReading()
                LoopTimer(loop) { connection.resumeReading() }.arm(after: .microseconds(turns % 500))
            }
        }
        try Self.exchange([server.address], connections: 50, bytesEach: 10_000)
        #expect(try server.thread.on { $0.statistics.receiveBuffersExhausted } > 0, "the case was not reached")
        try server.join()
    }

    @Test("connections that close with bytes on their way give their buffers back", arguments: TransportMode.available)
    func closedWithBytes(mode: TransportMode) throws {
        var configuration = mode.configuration
        configuration.receiveBuffers.count = 8
        configuration.receiveBuffers.size = 64
        let server = try TestServer(.anyLoopback, configuration) { connection in
            connection.onReceived = { connection, bytes in
                if bytes.count > 4 { connection.close() } else { connection.write(bytes) }
            }
        }
        for _ in 0..<50 {
            let peer = try Peer(connectingTo: server.address)
            try peer.send(pattern(2000))
            _ = try? peer.receive()
        }
        let peer = try Peer(connectingTo: server.address)
        for _ in 0..<20 {
            try peer.send("ping")
            #expect(try peer.receive(exactly: 4) == Array("ping".utf8))
        }
        try server.join()
    }

    @Test(
        "a completion queue far too small for its connections overflows, and nothing is lost", .needsRing,
        arguments: TransportMode.available.filter(\.hasRing))
    func overflow(mode: TransportMode) throws {
        var configuration = mode.configuration
        configuration.uring.submissionEntries = 4
        configuration.uring.completionEntries = 8
        configuration.receiveBuffers.size = 256
        let server = try TestServer(.anyLoopback, configuration, setUp: RecordingConnection.echo)
        try Self.exchange([server.address], connections: 200, bytesEach: 20_000)
        #expect(try server.thread.on { $0.completionOverflows } > 0, "the case was not reached")
        try server.join()
    }
}
