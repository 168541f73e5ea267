import Glibc
import NIOCore
import RingmasterNIO
import Testing

import enum Transport.TransportKind

@testable import TransportTesting

@Suite("Datagram channels: writing", .timeLimit(.minutes(5)))
struct DatagramWriteTests {
    @Test("only what was flushed is sent, many at once and in order", arguments: TransportKind.here)
    func flush(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let sender = try await group.datagram()
            let receiver = try await group.datagram { $0.channelOption(.socketOption(.so_rcvbuf), value: 4_000_000) }
            let address = try receiver.address
            let ends = Recorder<Int>()
            for number in 0..<200 {
                let bytes = [UInt8(number)]
                sender.write(bytes, to: address, flush: false).whenSuccess { ends.record(number) }
            }
            try await sender.channel.eventLoop.submit {}.get()
            #expect(ends.all.isEmpty && receiver.envelopes.isEmpty)
            sender.channel.flush()
            let late = sender.write([255], to: address, flush: false)
            #expect(try receiver.bytes(200) == (0..<200).map { [UInt8($0)] })
            #expect(try ends.wait { $0.count == 200 } == Array(0..<200), "promises in order")
            #expect(receiver.envelopes.count == 200)
            sender.channel.flush()
            try await late.get()
            #expect(try receiver.bytes(201).last == [255])
        }
    }

    @Test("a datagram that cannot be sent fails, and no other", arguments: TransportKind.here)
    func tooLong(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let (sender, receiver) = (try await group.datagram(), try await group.datagram())
            let address = try receiver.address
            let first = sender.write([1], to: address, flush: false)
            let long = sender.write(pattern(70_000), to: address, flush: false)
            let last = sender.write([2], to: address)
            try await first.get()
            #expect(await errnoCode(long) == EMSGSIZE)
            try await last.get()
            #expect(try receiver.bytes(2) == [[1], [2]])
            #expect(sender.errors.isEmpty && sender.channel.isActive)
            #expect(try await sender.channel.getOption(.bufferedWritableBytes).get() == 0)
        }
    }

    @Test("empty datagrams are sent as they are, however many, and only when flushed", arguments: TransportKind.here)
    func empty(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let sender = try await group.datagram()
            let receiver = try await group.datagram { $0.channelOption(.socketOption(.so_rcvbuf), value: 4_000_000) }
            let address = try receiver.address
            let writes = (0..<200).map { _ in sender.write([], to: address, flush: false) }
            #expect(try await sender.channel.getOption(.bufferedWritableBytes).get() == 0)
            sender.channel.flush()
            let late = sender.write([], to: address, flush: false)
            try await EventLoopFuture.andAllSucceed(writes, on: sender.channel.eventLoop).get()
            #expect(try receiver.bytes(200) == Array(repeating: [], count: 200))
            // Were it sent, it would come before this one.
            try await receiver.send([1], to: address)
            #expect(try receiver.bytes(201).last == [1])
            sender.channel.flush()
            try await late.get()
            #expect(try receiver.bytes(202).last == [])
        }
    }

    @Test("promises are kept and broken in the order of the writes", arguments: TransportKind.here)
    func promises(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let (sender, receiver) = (try await group.datagram(), try await group.datagram())
            let address = try receiver.address
            let other = try NIOCore.SocketAddress(ipAddress: "::1", port: 9)
            let ends = Recorder<Int>()
            for number in 0..<9 {
                let future = sender.write([UInt8(number)], to: number % 3 == 1 ? other : address, flush: false)
                future.whenSuccess { ends.record(number) }
                future.whenFailure { _ in ends.record(-number) }
            }
            sender.channel.flush()
            #expect(try ends.wait { $0.count == 9 } == [0, -1, 2, 3, -4, 5, 6, -7, 8])
            #expect(try receiver.bytes(6) == [0, 2, 3, 5, 6, 8].map { [$0] })
        }
    }

    // MARK: Writability

    @Test("the water marks say when it is writable, and it is told in between", arguments: TransportKind.here)
    func marks(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let sender = try await group.datagram {
                $0.channelOption(.writeBufferWaterMark, value: .init(low: 10, high: 20))
            }
            let receiver = try await group.datagram()
            let address = try receiver.address
            let channel = sender.channel
            _ = sender.write(pattern(20), to: address, flush: false)
            try await channel.eventLoop.submit { #expect(channel.isWritable) }.get()
            let last = sender.write([1], to: address, flush: false)
            try await channel.eventLoop.submit { #expect(!channel.isWritable) }.get()
            #expect(try await channel.getOption(.bufferedWritableBytes).get() == 21)
            channel.flush()
            try await last.get()
            try await channel.eventLoop.submit { #expect(channel.isWritable) }.get()
            #expect(sender.writability == [false, true])
            #expect(try await channel.getOption(.bufferedWritableBytes).get() == 0)
        }
    }

    @Test("while the socket has no room, the bytes buffered are those not sent", arguments: TransportKind.here)
    func blocked(kind: TransportKind) async throws {
        let peer = try DatagramPeer(.temporaryUnix())
        try await withRingGroup(kind) { group in
            let path = peer.address.host
            let sender = try await group.datagram(make: { $0.connect(unixDomainSocketPath: path) })
            let channel = sender.channel
            func buffered() async throws -> Int { try await channel.getOption(.bufferedWritableBytes).get() }
            let sent = Counter()
            let (count, size) = (2000, 16)
            for _ in 0..<count {
                channel.write(ByteBuffer(bytes: pattern(size))).whenSuccess { sent.increment() }
            }
            #expect(try await buffered() == count * size)
            channel.flush()
            try eventually { sent.value > 0 }
            // In one turn, between completions.
            let (told, left) = try await channel.eventLoop.submit {
                (sent.value, try channel.syncOptions!.getOption(.bufferedWritableBytes))
            }.get()
            #expect(told < count, "the case was not reached")
            #expect(left == (count - told) * size)
            let late = channel.write(ByteBuffer(bytes: pattern(3)))
            for _ in 0..<count { #expect(try peer.receive() == pattern(size)) }
            try eventually { sent.value == count }
            #expect(try await buffered() == 3)
            channel.flush()
            try await late.get()
            #expect(try await buffered() == 0)
            #expect(try peer.receive() == pattern(3))
        }
    }

    @Test("who writes when it becomes writable again is served too", arguments: TransportKind.here)
    func reentrant(kind: TransportKind) async throws {
        final class Refill: ChannelInboundHandler, Sendable {
            typealias InboundIn = Envelope
            let address: NIOCore.SocketAddress
            init(_ address: NIOCore.SocketAddress) { self.address = address }
            func channelWritabilityChanged(context: ChannelHandlerContext) {
                guard context.channel.isWritable else { return }
                let envelope = Envelope(remoteAddress: address, data: ByteBuffer(bytes: [2]))
                context.writeAndFlush(NIOAny(envelope), promise: nil)
            }
        }
        try await withRingGroup(kind) { group in
            let receiver = try await group.datagram()
            let address = try receiver.address
            let sender = try await group.datagram { bootstrap in
                bootstrap.channelOption(.writeBufferWaterMark, value: .init(low: 1, high: 2))
                    .channelInitializer { $0.pipeline.addHandler(Refill(address)) }
            }
            try await sender.send(pattern(3), to: address)
            #expect(try receiver.bytes(2) == [pattern(3), [2]])
        }
    }

    // MARK: Segments

    @Test("a write becomes datagrams of the channel's segment size, however many", arguments: TransportKind.here)
    func segments(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let sender = try await group.datagram { $0.channelOption(.datagramSegmentSize, value: 500) }
            let receiver = try await group.datagram { $0.channelOption(.socketOption(.so_rcvbuf), value: 4_000_000) }
            #expect(try await sender.channel.getOption(.datagramSegmentSize).get() == 500)
            // More than the kernel splits at once: 64.
            let bytes = pattern(500 * 100 + 1)
            try await sender.send(bytes, to: receiver.address)
            let received = try receiver.bytes(101)
            #expect(received.flatMap { $0 } == bytes && received.dropLast().allSatisfy { $0.count == 500 })
        }
    }

    @Test("a write's own segment size goes before the channel's", arguments: TransportKind.here)
    func ownSegments(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let (sender, receiver) = (try await group.datagram(), try await group.datagram())
            func metadata(_ size: Int?) -> Envelope.Metadata {
                Envelope.Metadata(ecnState: .transportNotCapable, packetInfo: nil, segmentSize: size)
            }
            try await sender.send(pattern(300), to: receiver.address, metadata(100))
            try await sender.send(pattern(300), to: receiver.address)
            try await sender.channel.setOption(.datagramSegmentSize, value: 200).get()
            try await sender.send(pattern(300), to: receiver.address, metadata(150))
            try await sender.send(pattern(300), to: receiver.address, metadata(nil))
            try await sender.channel.setOption(.datagramSegmentSize, value: 0).get()
            try await sender.send(pattern(300), to: receiver.address)
            let counts = try receiver.bytes(9).map(\.count)
            #expect(counts == [100, 100, 100, 300, 150, 150, 200, 100, 300])
            let refused = try sender.write([1], to: receiver.address, metadata(0))
            #expect(await errnoCode(refused) == EINVAL)
            #expect(await errnoCode(sender.channel.setOption(.datagramSegmentSize, value: 65_536)) == EINVAL)
        }
    }

    // MARK: Closing

    @Test(
        "what was flushed in the turn of the close is sent, the rest fails, all in order", arguments: TransportKind.here
    )
    func close(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let (sender, receiver) = (try await group.datagram(), try await group.datagram())
            let address = try receiver.address
            let ends = Recorder<String>()
            try await sender.channel.eventLoop.submit {
                for number in 0..<4 {
                    let future = sender.write([UInt8(number)], to: address, flush: number == 1)
                    future.whenSuccess { ends.record("sent \(number)") }
                    future.whenFailure { ends.record("\(($0 as? ChannelError) == .ioOnClosedChannel) \(number)") }
                }
                sender.channel.close(promise: nil)
            }.get()
            try await sender.channel.closeFuture.get()
            #expect(ends.all == ["sent 0", "sent 1", "true 2", "true 3"])
            #expect(try receiver.bytes(2) == [[0], [1]])
            await #expect(throws: ChannelError.ioOnClosedChannel) { try await sender.send([1], to: address) }
        }
    }

    @Test("what waits for room fails when the channel closes", arguments: TransportKind.here)
    func closeBlocked(kind: TransportKind) async throws {
        let peer = try DatagramPeer(.temporaryUnix())
        try await withRingGroup(kind) { group in
            let path = peer.address.host
            let sender = try await group.datagram(make: { $0.connect(unixDomainSocketPath: path) })
            let ends = Recorder<Bool>()
            for _ in 0..<2000 {
                let future = sender.channel.write(ByteBuffer(bytes: [1]))
                future.whenSuccess { ends.record(true) }
                future.whenFailure { _ in ends.record(false) }
            }
            sender.channel.flush()
            try ends.wait { !$0.isEmpty }
            try await sender.close()
            let sent = ends.all.count { $0 }
            #expect(ends.all.count == 2000 && sent < 2000, "the case was not reached")
            #expect(ends.all == Array(repeating: true, count: sent) + Array(repeating: false, count: 2000 - sent))
        }
    }
}
