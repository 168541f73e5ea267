import Glibc
import NIOCore
import Testing

@testable import RingmasterNIO
@testable import Transport
@testable import TransportTesting

@Suite("Reading from stream channels")
struct StreamReadingTests {
    /// What a journal has of reads, each burst as the number of its reads.
    private static func bursts(_ events: [String]) -> [Int] {
        var bursts: [Int] = []
        var count = 0
        for event in events {
            if event == "readComplete" {
                bursts.append(count)
                count = 0
            } else if event.hasPrefix("read ") {
                count += 1
            }
        }
        return bursts
    }

    @Test(
        "Without automatic reading nothing is read until it is asked for, and then once",
        arguments: across(streamTransports, StreamFamily.allCases))
    func onDemand(transport: TransportKind, family: StreamFamily) async throws {
        try await withAccepted(transport, family) {
            $0.childChannelOption(.autoRead, value: false)
        } _: { it async throws in
            try await it.peer.send("first")
            // A turn of the loop in which it could have been read.
            for _ in 0..<3 { try await it.onLoop {} }
            #expect(it.journal.events == ["registered", "active"])
            it.channel.read()
            try await it.journal.wait(for: "readComplete")
            try await it.peer.send("second")
            for _ in 0..<3 { try await it.onLoop {} }
            #expect(it.journal.events == ["registered", "active", "read 5", "readComplete"])
            it.channel.read()
            try await it.journal.wait(forBytes: 11)
            #expect(String(decoding: it.journal.bytes, as: UTF8.self) == "firstsecond")
        }
    }

    @Test(
        "A stream read on demand, a burst at a time, is byte-exact",
        arguments: across(streamTransports, StreamFamily.allCases))
    func demandedStream(transport: TransportKind, family: StreamFamily) async throws {
        let bytes = pattern(3_000_000, seed: 3)
        try await withAccepted(transport, family) {
            $0.childChannelOption(.autoRead, value: false)
        } spy: { spy in
            spy.on["active"] = { $0.read() }
            // Not at once: what arrives meanwhile is parked.
            spy.on["readComplete"] = { context in
                let bound = context.loopBound
                context.eventLoop.execute { bound.value.read() }
            }
        } _: { it async throws in
            let sending = it.peer.sending(bytes)
            try await it.journal.wait(for: "removed")
            try await sending.value
            #expect(it.journal.bytes.isSame(as: bytes))
        }
    }

    @Test("Asked for more from channelRead, it goes on", arguments: streamTransports)
    func askedInRead(transport: TransportKind) async throws {
        let bytes = pattern(1_000_000)
        try await withAccepted(transport) {
            $0.childChannelOption(.autoRead, value: false)
        } spy: { spy in
            spy.on["active"] = { $0.read() }
            spy.on["read"] = { $0.read() }
        } _: { it async throws in
            let sending = it.peer.sending(bytes)
            try await it.journal.wait(for: "removed")
            try await sending.value
            #expect(it.journal.bytes.isSame(as: bytes))
        }
    }

    @Test(
        "A burst has one to maxMessagesPerRead reads and one channelReadComplete",
        arguments: across(streamTransports, [UInt(1), 2, 4, 16]))
    func bursts(transport: TransportKind, messagesMax: UInt) async throws {
        let bytes = pattern(2_000_000)
        try await withAccepted(transport) {
            $0.childChannelOption(.maxMessagesPerRead, value: messagesMax)
        } _: { it async throws in
            let sending = it.peer.sending(bytes)
            try await it.journal.wait(for: "removed")
            try await sending.value
            #expect(it.journal.bytes.isSame(as: bytes))
            let bursts = Self.bursts(it.journal.events)
            // The last is that of the end, which may have none.
            #expect(bursts.dropLast().allSatisfy { (1...Int(messagesMax)).contains($0) }, "\(bursts)")
            #expect((0...Int(messagesMax)).contains(bursts.last ?? -1))
        }
    }

    @Test(
        "While reads are held back and the peer floods, little is kept; afterwards it is byte-exact",
        arguments: across(streamTransports, StreamFamily.allCases))
    func heldBack(transport: TransportKind, family: StreamFamily) async throws {
        let bytes = pattern(8_000_000, seed: 7)
        try await withAccepted(transport, family) {
            $0
        } spy: { spy in
            spy.on["read"] = { [unowned spy] _ in spy.passesReads.store(false, ordering: .relaxed) }
        } _: { it async throws in
            let sending = it.peer.sending(bytes)
            try await it.journal.wait(for: "read held back")
            let stream = it.stream
            func kept() async throws -> Int {
                try await it.onLoop { stream.parked.readableBytes + (stream.connection?.parkedBytes ?? 0) }
            }
            try await soon("bytes to be parked") {
                try stream.loop.submit { stream.parked.readableBytes > 0 }.wait()
            }
            let before = it.journal.bytes.count
            for _ in 0..<50 { try await it.onLoop {} }
            #expect(it.journal.bytes.count == before)
            // Here what one receive brought; below what its multishot had in flight when the connection was told to stop.
            try await it.onLoop { #expect(stream.parked.readableBytes <= stream.loop.core.receiveBufferSize) }
            #expect(try await kept() <= 1 << 20)
            try await it.onLoop {
                it.spy.on["read"] = nil
                it.spy.passesReads.store(true, ordering: .relaxed)
                stream.pipeline.read()
            }
            try await it.journal.wait(for: "removed")
            try await sending.value
            #expect(it.journal.bytes.isSame(as: bytes))
        }
    }

    @Test(
        "Automatic reading switched off and on in the middle of a stream loses nothing",
        arguments: across(streamTransports, StreamFamily.allCases))
    func toggled(transport: TransportKind, family: StreamFamily) async throws {
        let bytes = pattern(3_000_000, seed: 9)
        try await withAccepted(transport, family) {
            $0
        } spy: { spy in
            spy.on["read"] = { context in
                let channel = context.channel
                try? channel.syncOptions?.setOption(.autoRead, value: false)
                context.eventLoop.execute { try? channel.syncOptions?.setOption(.autoRead, value: true) }
            }
        } _: { it async throws in
            let sending = it.peer.sending(bytes)
            try await it.journal.wait(for: "removed")
            try await sending.value
            #expect(it.journal.bytes.isSame(as: bytes))
        }
    }

    @Test("The receive allocator says how much a read brings", arguments: streamTransports)
    func allocator(transport: TransportKind) async throws {
        let bytes = pattern(10_000)
        try await withAccepted(transport) {
            $0.childChannelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 128))
        } _: { it async throws in
            let sending = it.peer.sending(bytes)
            try await it.journal.wait(for: "removed")
            try await sending.value
            #expect(it.journal.bytes.isSame(as: bytes))
            let sizes = it.journal.events.filter { $0.hasPrefix("read ") && $0 != "readComplete" }
            #expect(sizes.allSatisfy { Int($0.dropFirst(5))! <= 128 })
            #expect(Self.bursts(it.journal.events).allSatisfy { $0 <= 4 })
        }
    }

    @Test("An allocator that records is told what each read has brought", arguments: streamTransports)
    func recordingAllocator(transport: TransportKind) async throws {
        struct Recording: RecvByteBufferAllocator {
            let sizes: Recorder<Int>
            func buffer(allocator: ByteBufferAllocator) -> ByteBuffer { allocator.buffer(capacity: 1000) }
            mutating func record(actualReadBytes: Int) -> Bool {
                sizes.record(actualReadBytes)
                return false
            }
        }
        let sizes = Recorder<Int>()
        try await withAccepted(transport) {
            $0.childChannelOption(.recvAllocator, value: Recording(sizes: sizes))
        } _: { it async throws in
            try await it.peer.send(pattern(500))
            try await it.journal.wait(forBytes: 500)
            #expect(sizes.all == [500])
            try await it.peer.send(pattern(4500, seed: 2))
            try await it.journal.wait(forBytes: 5000)
            #expect(sizes.all.reduce(0, +) == 5000 && sizes.all.allSatisfy { $0 <= 1024 })
            #expect(it.journal.bytes.isSame(as: pattern(500) + pattern(4500, seed: 2)))
        }
    }

    @Test("A handler may close the channel between the reads of a burst", arguments: streamTransports)
    func closeInBurst(transport: TransportKind) async throws {
        try await withAccepted(transport) {
            $0
        } spy: { spy in
            spy.on["read"] = { $0.close(promise: nil) }
        } _: { it async throws in
            let sending = it.peer.sending(pattern(1_000_000))
            try await it.journal.wait(for: "removed")
            _ = try? await sending.value
            #expect(it.journal.events.count { $0.hasPrefix("read") } == 1)
        }
    }

    @Test(
        "A handler that closes in channelRead when the end has come as well is told of the end once",
        arguments: streamTransports)
    func closeInReadAtEnd(transport: TransportKind) async throws {
        try await withAccepted(transport) {
            $0.childChannelOption(.autoRead, value: false)
        } spy: { spy in
            spy.on["read"] = { $0.close(promise: nil) }
        } _: { it async throws in
            try await it.peer.send("all there is")
            it.peer.finishOutput()
            try await it.journal.wait(for: "removed")
            #expect(
                it.journal.events == ["registered", "active", "read 12", "inactive", "unregistered", "removed"])
        }
    }

    @Test("What is read is not read before channelActive, though it was there", arguments: streamTransports)
    func activeFirst(transport: TransportKind) async throws {
        try await withAccepted(transport) {
            $0
        } spy: { spy in
            spy.on["active"] = { _ in usleep(20_000) }
        } _: { it async throws in
            try await it.peer.send("early")
            try await it.journal.wait(forBytes: 5)
            #expect(it.journal.events.prefix(3) == ["registered", "active", "read 5"])
        }
    }

    @Test("Five thousand small messages come in order", arguments: streamTransports)
    func small(transport: TransportKind) async throws {
        let endless = EndlessPattern(seed: 5)
        let differences = Recorder<Int>()
        // On the loop's thread; looked at here when the channel has ended.
        nonisolated(unsafe) var position = 0
        try await withAccepted(transport) {
            $0
        } spy: { spy in
            spy.keepsBytes = false
            spy.onBytes = { _, buffer in
                if !endless.matches(Array(buffer.readableBytesView), at: position) { differences.record(position) }
                position += buffer.readableBytes
            }
        } _: { it async throws in
            var sent = 0
            while sent < 1_000_000 {
                try await it.peer.send(Array(endless.piece(at: sent, count: 200)))
                sent += 200
            }
            it.peer.finishOutput()
            try await it.journal.wait(for: "removed")
            #expect(position == sent && differences.all.isEmpty)
        }
    }
}
