import Foundation
import Testing

@testable import Transport
@testable import TransportTesting

/// A peer that is gone at once after its last bytes, and a service that only reads: no send of its own will ever fail.
@Suite("Connection: the end right behind the last bytes")
struct ConnectionResetTests {
    enum Reading: CaseIterable {
        case always
        /// Resumed when the peer is gone.
        case late
        /// Paused by whatever comes, until the end of the turn.
        case halting
        /// With its own half closed.
        case afterOutput
    }

    private static let clientCount = 200
    /// From one byte to several receive buffers; all fits into the socket of a service that does not read.
    private static let sizes = [1, 100, 5_000, 40_000]

    @Test(
        "the end is told to a service that only reads, whether RST comes with the bytes or behind them",
        arguments: across(TransportMode.available, Reading.allCases, sizes, [true, false]))
    func resetBehindBytes(mode: TransportMode, reading: Reading, size: Int, isLoopHeld: Bool) throws {
        let server = try TestServer(mode, reading: reading != .late) { connection in
            connection.recordsData = false
            if reading == .afterOutput { connection.finishOutput() }
            guard reading == .halting else { return }
            connection.onReceived = { connection, _ in
                connection.pauseReading()
                connection.loop.executeAtEndOfTurn { connection.resumeReading() }
            }
        }
        let peers = try (0..<Self.clientCount).map { _ in try Peer(connectingTo: server.address) }
        let boxes = try server.connections.wait { $0.count == Self.clientCount }
        let gate = DispatchSemaphore(value: 0)
        if isLoopHeld { #expect(server.thread.remote.execute { _ in gate.wait() }) }
        let data = pattern(size)
        for peer in peers {
            try peer.send(data)
            peer.reset()
        }
        gate.signal()
        if reading == .late {
            try server.thread.on { _ in for box in boxes { box.connection.resumeReading() } }
        }
        let ends = try server.recorder.wait { $0.count { $0.isClosed } == Self.clientCount }
        #expect(ends.allSatisfy { !$0.isClosed || $0 == .closed(.reset) })
        #expect(try server.thread.on { $0.channelCount } == 1)
        try server.join()
    }

    @Test(
        "bytes and FIN that come while the loop is busy are both told (liburing issue 1549)",
        arguments: TransportMode.available, AddressFamily.allCases)
    func finBehindBytes(mode: TransportMode, family: AddressFamily) throws {
        let server = try TestServer(mode, family.address) { $0.onInputEnded = { $0.close() } }
        let peers = try (0..<Self.clientCount).map { _ in try Peer(connectingTo: server.address) }
        _ = try server.connections.wait { $0.count == Self.clientCount }
        let gate = DispatchSemaphore(value: 0)
        #expect(server.thread.remote.execute { _ in gate.wait() })
        for peer in peers {
            try peer.send("x")
            peer.finishOutput()
        }
        gate.signal()
        let ends = try server.recorder.wait { $0.count { $0.isClosed } == Self.clientCount }
        #expect(ends.count { $0.isReceived } == Self.clientCount)
        #expect(ends.count { $0 == .inputEnded } == Self.clientCount)
        try server.join()
    }

    @Test(
        "bytes and the end that came before the connection starts are both told",
        arguments: across(TransportMode.available, AddressFamily.allCases, [true, false]))
    func endBeforeStart(mode: TransportMode, family: AddressFamily, isReset: Bool) throws {
        let gate = DispatchSemaphore(value: 0)
        let server = try TestServer(mode, family.address)
        #expect(server.thread.remote.execute { _ in gate.wait() })
        for _ in 0..<Self.clientCount {
            let peer = try Peer(connectingTo: server.address)
            try peer.send(pattern(5_000))
            if isReset, family != .unix { peer.reset() } else { peer.close() }
        }
        gate.signal()
        let ends = try server.recorder.wait { $0.count { $0.isClosed } == Self.clientCount }
        #expect(server.recorder.bytes.count == 5_000 * Self.clientCount)
        let reason = isReset && family != .unix ? CloseReason.reset : .finished
        #expect(ends.allSatisfy { !$0.isClosed || $0 == .closed(reason) })
        try server.join()
    }
}
