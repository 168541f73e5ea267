import Glibc
import Testing

@testable import Services
@testable import Transport

@Suite("proxy: bytes, FIN and RST")
struct ProxyTransferTests {
    typealias Direction = ProxiedPair.Direction

    @Test("16 MiB pass each way at the same time, byte-exact, and are counted")
    func bothWays() throws {
        let pair = try ProxiedPair()
        let (client, server) = (pair.client, pair.server)
        let request = pattern(16 << 20, seed: 1)
        let response = pattern((16 << 20) + 1, seed: 2)
        let clientSends = Background { try client.send(request) }
        let serverSends = Background { try server.send(response) }
        let serverReceives = Background { try server.receive(request.count) }
        #expect(try client.receive(response.count) == response)
        #expect(try serverReceives.value() == request)
        try clientSends.value()
        try serverSends.value()
        client.finishOutput()
        server.finishOutput()
        #expect(try client.isAtEnd())
        #expect(try server.isAtEnd())
        try pair.proxy.waitUntilEnded(1)
        var expected = ServiceStatistics()
        expected.bytesReceived = UInt64(request.count)
        expected.bytesSent = UInt64(response.count)
        #expect(try pair.proxy.statistics == expected)
        try pair.proxy.finishProxy()
    }

    @Test("a stream is spliced; what comes behind it, little by little, is copied again", arguments: Direction.allCases)
    func splicing(direction: Direction) throws {
        let pair = try ProxiedPair()
        let (from, to) = pair.ends(direction)
        let spliced = { try pair.proxy.on { _, loop in loop.statistics.splicedBytes } }
        let stream = pattern(16 << 20, seed: 4)
        let sending = Background { try from.send(stream) }
        // Not read before there is more than goes at once.
        try eventually("the stream to be spliced") { try spliced() > 0 }
        #expect(try to.receive(stream.count) == stream)
        try sending.value()
        let some = try spliced()
        #expect(some > 0 && some < UInt64(stream.count), "the first bytes were copied")
        for _ in 0..<4 { #expect(try pair.passesBytes()) }
        let last = try spliced()
        #expect(last - some <= 4 * 8)
        for _ in 0..<10 { #expect(try pair.passesBytes()) }
        #expect(try spliced() == last)
        try pair.proxy.finishProxy()
    }

    @Test("statistics count what an open connection has passed")
    func statisticsWhileOpen() throws {
        let pair = try ProxiedPair()
        for round in 1...3 {
            #expect(try pair.passesBytes())
            try eventually("the sent bytes to be counted") {
                let statistics = try pair.proxy.statistics
                return statistics.bytesReceived == 8 * round && statistics.bytesSent == 6 * round
            }
        }
        try pair.proxy.finishProxy()
    }

    @Test("client and upstream on Unix-domain sockets")
    func unixDomain() throws {
        let pair = try ProxiedPair(upstream: .temporaryUnix(), listeningOn: .temporaryUnix())
        #expect(try pair.passesBytes())
        pair.client.finishOutput()
        #expect(try pair.server.isAtEnd())
        try pair.server.send("bye")
        pair.server.finishOutput()
        #expect(try pair.client.receiveText(3) == "bye")
        #expect(try pair.client.isAtEnd())
        try pair.proxy.waitUntilEnded(1)
        try pair.proxy.finishProxy()
    }

    @Test("FIN passes behind the bytes before it, and the other direction stays open", arguments: Direction.allCases)
    func halfClose(direction: Direction) throws {
        let pair = try ProxiedPair()
        let (from, to) = pair.ends(direction)
        try from.send("last words")
        from.finishOutput()
        #expect(try to.receiveText(10) == "last words")
        #expect(try to.isAtEnd())
        let data = pattern(1 << 20, seed: 3)
        let sender = Background {
            try to.send(data)
            to.finishOutput()
        }
        #expect(try from.receive(data.count) == data)
        #expect(try from.isAtEnd())
        try sender.value()
        try pair.proxy.waitUntilEnded(1)
        try pair.proxy.finishProxy()
    }

    @Test("RST passes from either side, also after one of them has said FIN", arguments: Direction.allCases, [0, 1, 2])
    func reset(direction: Direction, finishedFirst: Int) throws {
        let pair = try ProxiedPair()
        let (from, to) = pair.ends(direction)
        #expect(try pair.passesBytes())
        if finishedFirst > 0 {
            let (first, second) = finishedFirst == 1 ? (from, to) : (to, from)
            first.finishOutput()
            #expect(try second.isAtEnd())
        }
        from.reset()
        if finishedFirst == 1 {
            // `to` has read end of file; what it sends now must be answered by RST.
            try eventually("the RST") {
                do {
                    try to.send("x")
                    return false
                } catch let failure as Peer.Failure {
                    return [EPIPE, ECONNRESET].contains(failure.code)
                }
            }
        } else {
            #expect(try to.isReset())
        }
        try pair.proxy.waitUntilEnded(1)
        try pair.proxy.finishProxy()
    }

    @Test("RST passes while bytes are stuck before it", arguments: Direction.allCases)
    func resetWhileStuck(direction: Direction) throws {
        let pair = try ProxiedPair()
        let (from, to) = pair.ends(direction)
        _ = try from.sendUntilStuck(pattern(64 << 20, seed: 4))
        to.reset()
        try pair.proxy.waitUntilEnded(1)
        #expect(throws: Peer.Failure.self) { try from.send(pattern(64 << 20, seed: 5)) }
        try pair.proxy.finishProxy()
    }

    /// Bytes a proxy may hold for one direction: the write queue may pass its high-water mark by one receive buffer,
    /// and a receive that is being cancelled may fill what receive buffers the loop has left.
    private static let queuedBytesMax = ConnectionConfiguration().highWaterMark + Int(ReceiveBufferConfiguration().size)
    private static let parkedBytesMax = Int(ReceiveBufferConfiguration().count * ReceiveBufferConfiguration().size)

    /// All that may be on its way, what is in a pipe included.
    private static let heldBytesMax = queuedBytesMax + parkedBytesMax + SplicePipe.capacity

    private struct Held {
        var queuedBytes: Int
        var parkedBytes: Int
        /// Received and not yet sent: queued, or in a pipe.
        var unsentBytes: Int
        var isHeldBack: Bool
    }

    /// What the proxy holds of the bytes that go in `direction`.
    private func held(_ pair: ProxiedPair, _ direction: Direction) throws -> Held {
        let held = try pair.proxy.on { service, _ -> Held? in
            guard let session = service.sessions.values.first, let upstream = session.upstream else { return nil }
            let (from, to) = direction == .fromClient ? (session.client!, upstream) : (upstream, session.client!)
            let unsent = Int(from.bytesReceived - to.bytesSent)
            return Held(
                queuedBytes: to.queuedBytes, parkedBytes: from.parkedBytes, unsentBytes: unsent,
                isHeldBack: from.isSplicing ? unsent > 0 : !from.isReading)
        }
        return try #require(held, "the pair is no longer joined")
    }

    @Test(
        "while the reader does not read, the proxy holds a bounded number of bytes; then all of them arrive",
        arguments: Direction.allCases)
    func backPressure(direction: Direction) throws {
        let pair = try ProxiedPair()
        let (from, to) = pair.ends(direction)
        let data = pattern(64 << 20, seed: 6)
        let sender = Background { try from.sendUntilStuck(data) }
        try eventually("reading to be paused") {
            let held = try self.held(pair, direction)
            #expect(held.queuedBytes <= Self.queuedBytesMax)
            #expect(held.parkedBytes <= Self.parkedBytesMax)
            #expect(held.unsentBytes <= Self.heldBytesMax)
            return held.isHeldBack
        }
        let sent = try sender.value()
        #expect(sent < data.count, "the sender is not held back")
        let held = try self.held(pair, direction)
        #expect(held.isHeldBack)
        // Of a pipe, any rest may be stuck.
        #expect(held.unsentBytes > 0)
        #expect(held.unsentBytes <= Self.heldBytesMax)
        #expect(held.queuedBytes <= Self.queuedBytesMax)
        #expect(held.parkedBytes <= Self.parkedBytesMax)

        from.finishOutput()
        #expect(try to.receive(sent) == Array(data[..<sent]))
        #expect(try to.isAtEnd())
        to.finishOutput()
        try pair.proxy.waitUntilEnded(1)
        try pair.proxy.finishProxy()
    }
}
