import Glibc
import NIOCore
import Testing

@testable import RingmasterNIO
@testable import Transport
@testable import TransportTesting

@Suite("Writing to stream channels")
struct StreamWritingTests {
    @Test(
        "Promises are kept in the order of the writes, whatever their sizes",
        arguments: across(streamTransports, StreamFamily.allCases))
    func promisesInOrder(transport: TransportKind, family: StreamFamily) async throws {
        let sizes = [0, 1, 100_000, 0, 70_000, 5, 0, 300_000, 65_536, 0]
        let bytes = pattern(sizes.reduce(0, +))
        try await withAccepted(transport, family, receiveBuffer: 8192) { it async throws in
            let (channel, journal) = (it.channel, it.journal)
            try await it.onLoop {
                var position = 0
                for (number, size) in sizes.enumerated() {
                    channel.holding(ByteBuffer(Array(bytes[position..<position + size]))).whenSuccess {
                        journal.note("written \(number)")
                    }
                    position += size
                }
                channel.flush()
            }
            #expect(try await it.peer.receive(exactly: bytes.count).isSame(as: bytes))
            try await journal.wait(for: "written \(sizes.count - 1)")
            #expect(journal.events.filter { $0.hasPrefix("written") } == sizes.indices.map { "written \($0)" })
        }
    }

    @Test("Only what was flushed is sent", arguments: streamTransports)
    func flushMarks(transport: TransportKind) async throws {
        try await withAccepted(transport) { it async throws in
            let (channel, journal) = (it.channel, it.journal)
            try await it.onLoop {
                channel.holding(ByteBuffer(string: "one")).whenSuccess { journal.note("one") }
                channel.flush()
                channel.holding(ByteBuffer(string: "two")).whenSuccess { journal.note("two") }
                channel.holding(ByteBuffer()).whenSuccess { journal.note("nothing") }
            }
            #expect(try await it.peer.receive() == Array("one".utf8))
            try await journal.wait(for: "one")
            for _ in 0..<3 { try await it.onLoop {} }
            #expect(Peer.unreadBytes(it.peer.fd) == 0 && !journal.has("two") && !journal.has("nothing"))
            channel.flush()
            #expect(try await it.peer.receive() == Array("two".utf8))
            try await journal.wait(for: "nothing")
        }
    }

    @Test("Empty buffers are written as soon as they are flushed", arguments: streamTransports)
    func empty(transport: TransportKind) async throws {
        try await withAccepted(transport) { it async throws in
            it.channel.flush()
            try await outcome(it.channel.sending(ByteBuffer())).get()
            let channel = it.channel
            let all = try await it.onLoop {
                let writes = (0..<1000).map { _ in channel.holding(ByteBuffer()) }
                channel.flush()
                return EventLoopFuture.andAllSucceed(writes, on: channel.eventLoop)
            }
            try await outcome(all).get()
            #expect(it.channel.isWritable)
        }
    }

    @Test("Ten thousand small writes and one flush arrive", arguments: streamTransports)
    func many(transport: TransportKind) async throws {
        let bytes = pattern(10_000 * 13)
        try await withAccepted(transport) { it async throws in
            let channel = it.channel
            let all = try await it.onLoop {
                let writes = (0..<10_000).map { channel.holding(ByteBuffer(Array(bytes[$0 * 13..<$0 * 13 + 13]))) }
                channel.flush()
                return EventLoopFuture.andAllSucceed(writes, on: channel.eventLoop)
            }
            #expect(try await it.peer.receive(exactly: bytes.count).isSame(as: bytes))
            try await outcome(all).get()
        }
    }

    @Test("Written before the channel is active, it is sent when it is", arguments: streamTransports)
    func beforeActive(transport: TransportKind) async throws {
        let journal = Journal()
        try await withAccepted(transport) {
            $0
        } initialize: { channel in
            channel.holding(ByteBuffer(string: "early")).whenSuccess { journal.note("early \(channel.isActive)") }
            channel.flush()
            channel.holding(ByteBuffer(string: "late")).whenSuccess { journal.note("late") }
        } _: { it async throws in
            #expect(try await it.peer.receive() == Array("early".utf8))
            try await journal.wait(for: "early true")
            #expect(!journal.has("late"))
            it.channel.flush()
            #expect(try await it.peer.receive() == Array("late".utf8))
        }
    }

    @Test("Much written before the channel is active is sent as the peer takes it", arguments: streamTransports)
    func muchBeforeActive(transport: TransportKind) async throws {
        let bytes = pattern(8_000_000)
        let journal = Journal()
        try await withAccepted(transport, receiveBuffer: 8192) {
            $0
        } initialize: { channel in
            channel.write(ByteBuffer(bytes)).whenSuccess { journal.note("written") }
            channel.flush()
            channel.close(mode: .output).whenFailure { journal.note("\($0)") }
            #expect(!channel.isWritable && !channel.isActive)
        } _: { it async throws in
            try await journal.wait(for: "\(ChannelError.inappropriateOperationForState)")
            #expect(try await it.peer.receive(exactly: bytes.count).isSame(as: bytes))
            try await journal.wait(for: "written")
            try await it.journal.wait(for: "writable true")
        }
    }

    @Test("A client's writes from before it was connected go first", arguments: streamTransports)
    func beforeConnected(transport: TransportKind) async throws {
        try await withRingGroup(transport) { group async throws in
            let plain = try PlainListener()
            let channel = try await RingClientBootstrap(group: group).channelInitializer { channel in
                channel.writeAndFlush(ByteBuffer(string: "one "), promise: nil)
                return channel.eventLoop.makeSucceededVoidFuture()
            }.connect(to: plain.address).get()
            channel.writeAndFlush(ByteBuffer(string: "two"), promise: nil)
            #expect(try await plain.accept().receive(exactly: 7) == Array("one two".utf8))
        }
    }

    @Test(
        "Written and flushed in channelActive and closed there, it reaches the peer",
        arguments: across(streamTransports, StreamFamily.allCases))
    func closeInActive(transport: TransportKind, family: StreamFamily) async throws {
        let bytes = pattern(50_000)
        let written = Journal()
        try await withAccepted(transport, family) {
            $0
        } spy: { spy in
            spy.on["active"] = { context in
                context.channel.sending(ByteBuffer(bytes)).whenComplete { written.note("\($0)") }
                context.close(promise: nil)
            }
        } _: { it async throws in
            #expect(try await it.peer.receiveToEnd().isSame(as: bytes))
            try await outcome(it.channel.closeFuture).get()
            #expect(written.events == ["success()"])
        }
    }

    @Test(
        "Written and flushed, then closed at once, it reaches the peer",
        arguments: across(streamTransports, StreamFamily.allCases, [10, 100_000]))
    func closeAfterFlush(transport: TransportKind, family: StreamFamily, count: Int) async throws {
        let bytes = pattern(count)
        try await withAccepted(transport, family) { it async throws in
            let channel = it.channel
            let (written, closed) = try await it.onLoop {
                (channel.sending(ByteBuffer(bytes)), channel.close())
            }
            #expect(try await it.peer.receiveToEnd().isSame(as: bytes))
            try await outcome(written).get()
            try await outcome(closed).get()
        }
    }

    @Test("What cannot be sent at the close fails, in order behind what could", arguments: streamTransports)
    func unsentAtClose(transport: TransportKind) async throws {
        try await withAccepted(transport, receiveBuffer: 8192) { it async throws in
            let (channel, journal) = (it.channel, it.journal)
            try await it.onLoop {
                for number in 0..<100 {
                    channel.sending(ByteBuffer(pattern(100_000))).whenComplete { result in
                        if case .success = result { journal.note("sent") } else { journal.note("unsent \(number)") }
                    }
                }
                channel.holding(ByteBuffer(string: "never flushed")).whenFailure { _ in journal.note("unflushed") }
            }
            try await outcome(channel.close()).get()
            try await outcome(channel.closeFuture).get()
            let told = journal.events.filter { $0.hasPrefix("sent") || $0.hasPrefix("un") && $0 != "unregistered" }
            let sent = told.count { $0 == "sent" }
            #expect(sent < 100)
            #expect(told == Array(repeating: "sent", count: sent) + (sent..<100).map { "unsent \($0)" } + ["unflushed"])
        }
    }

    @Test(
        "Writability goes at the high mark and comes back below the low one, told once each",
        arguments: streamTransports)
    func writability(transport: TransportKind) async throws {
        try await withAccepted(transport, receiveBuffer: 8192) {
            $0.childChannelOption(.writeBufferWaterMark, value: .init(low: 1000, high: 2000))
        } _: { it async throws in
            let channel = it.channel
            try await it.onLoop {
                channel.write(ByteBuffer(pattern(2000)), promise: nil)
                #expect(channel.isWritable)
                channel.write(ByteBuffer(pattern(1)), promise: nil)
                #expect(!channel.isWritable)
                channel.write(ByteBuffer(pattern(8_000_000)), promise: nil)
            }
            #expect(it.journal.events.filter { $0.hasPrefix("writable") } == ["writable false"])
            channel.flush()
            _ = try await it.peer.receive(exactly: 8_002_001)
            try await it.journal.wait(for: "writable true")
            #expect(it.journal.events.filter { $0.hasPrefix("writable") } == ["writable false", "writable true"])
            #expect(channel.isWritable)
        }
    }

    @Test("A small write does not touch writability", arguments: streamTransports)
    func noWritabilityChange(transport: TransportKind) async throws {
        try await withAccepted(transport) { it async throws in
            try await outcome(it.channel.sending(ByteBuffer(string: "x"))).get()
            #expect(!it.journal.events.contains { $0.hasPrefix("writable") })
        }
    }

    @Test(
        "100 MB written as the channel becomes writable reach a slow reader byte-exact",
        arguments: across(streamTransports, StreamFamily.allCases))
    func hundredMegabytes(transport: TransportKind, family: StreamFamily) async throws {
        let endless = EndlessPattern(seed: 11)
        let total = family == .unix ? 20_000_000 : 100_000_000
        // On the loop's thread.
        nonisolated(unsafe) var written = 0
        // From a few bytes, which are copied, to pieces that are sent from where they lie.
        let sizes = [100, 5000, 65_536, 1 << 18, 70_001, 30_000]
        // On the loop's thread.
        nonisolated(unsafe) var turn = 0
        @Sendable func fill(_ context: ChannelHandlerContext) {
            while context.channel.isWritable, written < total {
                let count = min(sizes[turn % sizes.count], total - written)
                turn += 1
                let buffer = ByteBuffer(bytes: endless.piece(at: written, count: count))
                written += count
                context.write(Spy.wrapOutboundOut(.byteBuffer(buffer)), promise: nil)
                if turn % 3 == 0 { context.flush() }
            }
            context.flush()
            if written == total {
                written += 1
                context.close(mode: .output, promise: nil)
            }
        }
        try await withAccepted(transport, family, receiveBuffer: 65_536) {
            $0
        } spy: { spy in
            spy.on["active"] = { fill($0) }
            spy.on["writable true"] = { fill($0) }
        } _: { it async throws in
            let peer = it.peer.plain
            let (count, same) = try await blocking {
                var position = 0
                var same = true
                while true {
                    let piece = try peer.receive(upTo: 300_000)
                    if piece.isEmpty { return (position, same) }
                    if !endless.matches(piece, at: position) { same = false }
                    position += piece.count
                    if position % 50 == 0 { usleep(1000) }
                }
            }
            #expect(count == total && same)
            let stream = it.stream
            #expect(try await it.onLoop { stream.writes.pointee.bufferedBytes } == 0)
        }
    }

    @Test("A promise's callback may write and flush", arguments: streamTransports)
    func flushInPromise(transport: TransportKind) async throws {
        try await withAccepted(transport) { it async throws in
            let (channel, journal) = (it.channel, it.journal)
            try await it.onLoop {
                channel.holding(ByteBuffer(string: "one")).whenSuccess {
                    channel.sending(ByteBuffer(string: "two")).whenSuccess { journal.note("two") }
                }
                channel.flush()
            }
            #expect(try await it.peer.receive(exactly: 6) == Array("onetwo".utf8))
            try await journal.wait(for: "two")
        }
    }

    @Test("A promise's callback may close the channel; the writes behind fail", arguments: streamTransports)
    func closeInPromise(transport: TransportKind) async throws {
        try await withAccepted(transport, receiveBuffer: 8192) { it async throws in
            let (channel, journal) = (it.channel, it.journal)
            try await it.onLoop {
                channel.holding(ByteBuffer(string: "one")).whenSuccess { channel.close(promise: nil) }
                channel.holding(ByteBuffer(pattern(8_000_000))).whenFailure { _ in journal.note("failed") }
                channel.flush()
            }
            try await outcome(channel.closeFuture).get()
            #expect(journal.has("failed"))
        }
    }

    @Test("Writability's callback may write what fills the channel again", arguments: streamTransports)
    func writeInWritability(transport: TransportKind) async throws {
        let piece = 100_000
        // On the loop's thread.
        nonisolated(unsafe) var left = 50
        try await withAccepted(transport, receiveBuffer: 8192) {
            $0
        } spy: { spy in
            spy.on["writable true"] = { context in
                guard left > 0 else { return }
                left -= 1
                context.writeAndFlush(Spy.wrapOutboundOut(.byteBuffer(ByteBuffer(pattern(piece)))), promise: nil)
            }
        } _: { it async throws in
            it.channel.writeAndFlush(ByteBuffer(pattern(piece)), promise: nil)
            #expect(try await it.peer.receive(exactly: 51 * piece).isSame(as: (0..<51).flatMap { _ in pattern(piece) }))
            try await soon("the last edge") { it.journal.count("writable true") == 51 }
            #expect(it.journal.count("writable false") == 51)
        }
    }

    @Test("Writability's callback may close the channel", arguments: streamTransports)
    func closeInWritability(transport: TransportKind) async throws {
        try await withAccepted(transport) {
            $0
        } spy: { spy in
            spy.on["writable false"] = { $0.close(promise: nil) }
        } _: { it async throws in
            let written = it.channel.sending(ByteBuffer(pattern(100_000)))
            #expect(try await failure(written) as? ChannelError == .ioOnClosedChannel)
            try await outcome(it.channel.closeFuture).get()
        }
    }

    @Test("Bytes buffered are those written and not taken by the kernel", arguments: streamTransports)
    func buffered(transport: TransportKind) async throws {
        try await withAccepted(transport) { it async throws in
            let channel = it.channel
            func bytes() async throws -> Int { try await channel.getOption(.bufferedWritableBytes).get() }
            #expect(try await bytes() == 0)
            channel.write(ByteBuffer(string: "hello"), promise: nil)
            channel.write(ByteBuffer(string: " you"), promise: nil)
            #expect(try await bytes() == 9)
            try await outcome(channel.sending(ByteBuffer())).get()
            #expect(try await bytes() == 0)
        }
    }

    @Test("The peer gone, writes fail with what the kernel says, and the channel ends", arguments: streamTransports)
    func peerGone(transport: TransportKind) async throws {
        try await withAccepted(transport) {
            $0.childChannelOption(.autoRead, value: false)
        } _: { it async throws in
            it.peer.reset()
            try await outcome(it.channel.closeFuture).get()
            #expect(
                try await failure(it.channel.sending(ByteBuffer(string: "x"))) as? ChannelError == .ioOnClosedChannel)
        }
        try await withAccepted(transport, receiveBuffer: 8192) { it async throws in
            let written = it.channel.sending(ByteBuffer(pattern(8_000_000)))
            for _ in 0..<3 { try await it.onLoop {} }
            it.peer.reset()
            let error = try await failure(written)
            #expect([ECONNRESET, EPIPE].contains((error as? IOError)?.errnoCode), "\(error as Any)")
            try await outcome(it.channel.closeFuture).get()
        }
    }

    @Test(
        "What is written to a peer that has closed is lost, and what it sent before is read",
        arguments: streamTransports)
    func readBeforeWriteError(transport: TransportKind) async throws {
        try await withAccepted(transport) {
            $0.childChannelOption(.autoRead, value: false)
        } _: { it async throws in
            try await it.peer.send("last words")
            it.peer.close()
            it.channel.writeAndFlush(ByteBuffer(string: "x"), promise: nil)
            try await it.journal.wait(for: "removed")
            #expect(it.journal.bytes == Array("last words".utf8))
        }
    }

    @Test("Buffers may be written as they are or as IOData", arguments: streamTransports)
    func kinds(transport: TransportKind) async throws {
        try await withAccepted(transport) { it async throws in
            it.channel.write(IOData.byteBuffer(ByteBuffer(string: "as data ")), promise: nil)
            try await outcome(it.channel.sending(ByteBuffer(string: "and as buffer"))).get()
            #expect(try await it.peer.receive(exactly: 21) == Array("as data and as buffer".utf8))
        }
    }

    @Test(
        "The own slice of a buffer is sent, not what is around it, and the buffer may change at once",
        arguments: streamTransports)
    func slices(transport: TransportKind) async throws {
        let bytes = pattern(200_000)
        try await withAccepted(transport, receiveBuffer: 8192) { it async throws in
            let channel = it.channel
            try await it.onLoop {
                var buffer = ByteBuffer(bytes)
                buffer.moveReaderIndex(forwardBy: 1)
                channel.write(buffer.getSlice(at: 10, length: 150_000)!, promise: nil)
                channel.write(buffer, promise: nil)
                channel.flush()
                // The channel's copy is its own: writing here copies the storage.
                buffer.setRepeatingByte(0, count: 200_000, at: 0)
            }
            #expect(try await it.peer.receive(exactly: 349_999).isSame(as: Array(bytes[10..<150_010] + bytes[1...])))
        }
    }
}
