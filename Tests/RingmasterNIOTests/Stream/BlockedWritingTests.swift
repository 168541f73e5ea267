import Glibc
import NIOCore
import Testing

@testable import RingmasterNIO
@testable import Transport
@testable import TransportTesting

/// What is written to a stream channel whose socket has no room for all of it.
@Suite("Writing more to a stream channel than its socket has room for")
struct BlockedWritingTests {
    /// What a channel does when the first of its writes has been sent.
    enum AfterFirst: CaseIterable {
        case nothing, close, closeNextTurn
    }

    private static let first = Array("first".utf8)
    private static let second = pattern(8_000_000)

    /// Writes a little and much, and notes what becomes of both.
    private static func write(_ channel: any NIOCore.Channel, _ journal: Journal, then end: AfterFirst) {
        channel.holding(ByteBuffer(first)).whenComplete { result in
            journal.note("first \(result)")
            switch end {
            case .nothing: break
            case .close: channel.close(promise: nil)
            case .closeNextTurn: channel.eventLoop.execute { channel.close(promise: nil) }
            }
        }
        channel.holding(ByteBuffer(second)).whenComplete { journal.note("second \($0)") }
        channel.flush()
    }

    /// Checks what has become of the writes, and what the peer gets.
    private static func check(
        _ channel: any NIOCore.Channel, _ peer: FarEnd, _ journal: Journal, after end: AfterFirst
    ) async throws {
        try await journal.wait(for: "first success()")
        let all = first + second
        guard end != .nothing else {
            #expect(try await peer.receive(exactly: all.count).isSame(as: all))
            try await journal.wait(for: "second success()")
            return
        }
        try await outcome(channel.closeFuture).get()
        try await journal.wait(for: "second failure(\(ChannelError.ioOnClosedChannel))")
        // The end, or a reset in place of what was not sent.
        var received: [UInt8] = []
        while let piece = try? await peer.receive(), !piece.isEmpty { received += piece }
        #expect(received.count >= first.count && received.count < all.count)
        #expect(received.isSame(as: Array(all.prefix(received.count))))
    }

    @Test(
        "Written before it connects, much is sent as the peer takes it, and closing fails what was not sent",
        arguments: across(streamTransports, AfterFirst.allCases))
    func beforeConnected(transport: TransportKind, end: AfterFirst) async throws {
        try await withRingGroup(transport) { group async throws in
            let plain = try PlainListener()
            // Of the listener: before the connection, whose window depends on it.
            #expect(Socket.set(plain.fd, SOL_SOCKET, SO_RCVBUF, 8192))
            let journal = Journal()
            let channel = try await RingClientBootstrap(group: group).channelInitializer { channel in
                Self.write(channel, journal, then: end)
                #expect(!channel.isWritable && !channel.isActive && journal.events.isEmpty)
                return channel.pipeline.addHandler(Spy(journal))
            }.connect(to: plain.address).get()
            try await Self.check(channel, plain.accept(), journal, after: end)
            if end == .nothing { try await journal.wait(for: "writable true") }
        }
    }

    @Test(
        "Written before it is active, an accepted channel's bytes fare likewise",
        arguments: across(streamTransports, AfterFirst.allCases))
    func beforeActive(transport: TransportKind, end: AfterFirst) async throws {
        let journal = Journal()
        try await withAccepted(transport, receiveBuffer: 8192) {
            $0
        } initialize: { channel in
            Self.write(channel, journal, then: end)
            #expect(journal.events.isEmpty)
        } _: { it async throws in
            try await Self.check(it.channel, it.peer, journal, after: end)
        }
    }

    @Test(
        "Bytes buffered while the socket is full are those that the kernel has not taken",
        arguments: across(streamTransports, [200_000, 1000]))
    func buffered(transport: TransportKind, pieceSize: Int) async throws {
        let total = 2_000_000
        try await withAccepted(transport, receiveBuffer: 8192) {
            $0.childChannelOption(.socketOption(.so_sndbuf), value: 8192)
        } _: { it async throws in
            let (channel, peer) = (it.stream, it.peer)
            let piece = ByteBuffer(pattern(pieceSize))
            let written = try await it.onLoop {
                let writes = (0..<total / pieceSize).map { _ in channel.holding(piece) }
                channel.flush()
                return EventLoopFuture.andAllSucceed(writes, on: channel.eventLoop)
            }
            var state = pollfd(fd: channel.descriptor, events: Int16(POLLOUT), revents: 0)
            try await soon("a full socket") {
                try channel.getOption(.bufferedWritableBytes).wait() < total && poll(&state, 1, 0) == 0
            }
            let buffered = try await channel.getOption(.bufferedWritableBytes).get()
            #expect(buffered > 0 && buffered < total)
            // Sent and not acknowledged, then received and not read: nothing leaves both.
            var unacknowledged: Int32 = 0
            _ = ioctl(channel.descriptor, UInt(TIOCOUTQ), &unacknowledged)
            let taken = Int(unacknowledged) + Int(Peer.unreadBytes(peer.fd))
            #expect(total - buffered <= taken, "more was told as taken than the kernel has")

            let last = try await it.onLoop {
                let before = try channel.getOption0(.bufferedWritableBytes)
                let last = channel.holding(ByteBuffer(pattern(10)))
                #expect(try channel.getOption0(.bufferedWritableBytes) == before + 10)
                return last
            }
            #expect(try await peer.receive(exactly: total).count == total)
            try await outcome(written).get()
            #expect(try await channel.getOption(.bufferedWritableBytes).get() == 10)
            channel.flush()
            try await outcome(last).get()
            #expect(try await channel.getOption(.bufferedWritableBytes).get() == 0)
            #expect(try await peer.receive(exactly: 10) == pattern(10))
        }
    }
}
