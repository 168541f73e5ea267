import Glibc
import NIOCore
import Testing

@testable import RingmasterNIO
@testable import Transport
@testable import TransportTesting

@Suite("File regions on stream channels")
struct StreamFileTests {
    /// A file of these bytes, open until `body` returns.
    private static func withFile(
        _ bytes: [UInt8], _ body: (NIOFileHandle) async throws -> Void
    ) async throws {
        let file = try TestFile(bytes)
        let copy = withExtendedLifetime(file) { dup(file.descriptor.fd) }
        let handle = NIOFileHandle(_deprecatedTakingOwnershipOfDescriptor: copy)
        let result: Result<Void, any Error>
        do {
            result = .success(try await body(handle))
        } catch {
            result = .failure(error)
        }
        if handle.isOpen { try handle.close() }
        try result.get()
    }

    @Test(
        "Regions and buffers are sent in the order of their writes",
        arguments: across(streamTransports, StreamFamily.allCases))
    func mixed(transport: TransportKind, family: StreamFamily) async throws {
        let file = pattern(1_000_000, seed: 2)
        try await Self.withFile(file) { handle in
            try await withAccepted(transport, family, receiveBuffer: 8192) { it async throws in
                let (channel, journal) = (it.channel, it.journal)
                let big = pattern(200_000, seed: 3)
                try await it.onLoop {
                    @Sendable func write(_ name: String, _ data: IOData) {
                        channel.holding(data).whenSuccess { journal.note("written \(name)") }
                    }
                    write("0", .byteBuffer(ByteBuffer(string: "head ")))
                    write("1", .fileRegion(NIOCore.FileRegion(fileHandle: handle, readerIndex: 100, endIndex: 600_000)))
                    write("2", .fileRegion(NIOCore.FileRegion(fileHandle: handle, readerIndex: 7, endIndex: 7)))
                    write("3", .byteBuffer(ByteBuffer(big)))
                    write("4", .fileRegion(NIOCore.FileRegion(fileHandle: handle, readerIndex: 0, endIndex: 3)))
                    write("5", .byteBuffer(ByteBuffer()))
                    write("6", .byteBuffer(ByteBuffer(string: " tail")))
                    channel.flush()
                }
                let expected = Array("head ".utf8) + file[100..<600_000] + big + file[0..<3] + Array(" tail".utf8)
                #expect(try await it.peer.receive(exactly: expected.count).isSame(as: expected))
                try await journal.wait(for: "written 6")
                #expect(journal.events.filter { $0.hasPrefix("written") } == (0...6).map { "written \($0)" })
            }
        }
    }

    @Test("Hundreds of regions are sent, few at a time", arguments: streamTransports)
    func manyRegions(transport: TransportKind) async throws {
        let file = pattern(100_000, seed: 2)
        try await Self.withFile(file) { handle in
            try await withAccepted(transport, receiveBuffer: 8192) { it async throws in
                let channel = it.channel
                let all = try await it.onLoop {
                    let writes = (0..<500).map {
                        channel.holding(
                            IOData.fileRegion(
                                NIOCore.FileRegion(fileHandle: handle, readerIndex: $0 * 100, endIndex: $0 * 100 + 5000)
                            ))
                    }
                    channel.flush()
                    return EventLoopFuture.andAllSucceed(writes, on: channel.eventLoop)
                }
                let expected = (0..<500).flatMap { file[$0 * 100..<$0 * 100 + 5000] }
                #expect(try await it.peer.receive(exactly: expected.count).isSame(as: expected))
                try await outcome(all).get()
            }
        }
    }

    @Test(
        "An empty region is written as soon as it is flushed, and a whole empty file too", arguments: streamTransports)
    func emptyRegions(transport: TransportKind) async throws {
        try await Self.withFile([]) { handle in
            try await withAccepted(transport) { it async throws in
                let region = try NIOCore.FileRegion(fileHandle: handle)
                try await outcome(it.channel.sending(IOData.fileRegion(region))).get()
                try await outcome(it.channel.sending(ByteBuffer(string: "x"))).get()
                #expect(try await it.peer.receive() == Array("x".utf8))
            }
        }
    }

    @Test("The handle may be closed when the write has been flushed", arguments: streamTransports)
    func closedEarly(transport: TransportKind) async throws {
        let file = pattern(3_000_000)
        try await Self.withFile(file) { handle in
            try await withAccepted(transport, receiveBuffer: 8192) { it async throws in
                let written = it.channel.sending(IOData.fileRegion(try NIOCore.FileRegion(fileHandle: handle)))
                try await it.onLoop { try handle.close() }
                #expect(try await it.peer.receive(exactly: file.count).isSame(as: file))
                try await outcome(written).get()
            }
        }
    }

    @Test(
        "A region for a peer that has finished and reads slowly is sent to its end, and FIN behind it",
        arguments: across(streamTransports, StreamFamily.allCases))
    func slowHalfClosedPeer(transport: TransportKind, family: StreamFamily) async throws {
        // More than all buffers on the way hold.
        let file = pattern(16 << 20)
        try await Self.withFile(file) { handle in
            try await withAccepted(transport, family, receiveBuffer: 8192) {
                $0.childChannelOption(.allowRemoteHalfClosure, value: true)
            } _: { it async throws in
                it.peer.finishOutput()
                try await it.journal.wait(for: "event inputClosed")
                let (channel, journal) = (it.channel, it.journal)
                let region = try NIOCore.FileRegion(fileHandle: handle)
                let closed = try await it.onLoop {
                    channel.sending(IOData.fileRegion(region)).whenSuccess { journal.note("written") }
                    let closed = channel.close(mode: .output)
                    closed.whenSuccess { journal.note("finished") }
                    return closed
                }
                var received: [UInt8] = []
                for _ in 0..<8 {
                    received += try await it.peer.receive(exactly: 64 * 1024)
                    #expect(!journal.has("written"))
                }
                received += try await it.peer.receiveToEnd()
                #expect(received.isSame(as: file))
                try await outcome(closed).get()
                #expect(journal.events.filter { ["written", "finished"].contains($0) } == ["written", "finished"])
                try await outcome(channel.closeFuture).get()
            }
        }
    }

    @Test("A file that is shorter than its region ends the channel, and its write fails", arguments: streamTransports)
    func tooShort(transport: TransportKind) async throws {
        try await Self.withFile(pattern(1000)) { handle in
            try await withAccepted(transport) { it async throws in
                let (channel, region) = (
                    it.channel, NIOCore.FileRegion(fileHandle: handle, readerIndex: 500, endIndex: 2000)
                )
                let (first, second) = try await it.onLoop {
                    let first = channel.holding(IOData.fileRegion(region))
                    return (first, channel.sending(ByteBuffer(string: "behind the hole")))
                }
                #expect((try await failure(first) as? IOError)?.errnoCode == EIO)
                #expect(try await failure(second) != nil)
                try await outcome(channel.closeFuture).get()
                #expect(try await it.peer.receiveToEnd().isSame(as: Array(pattern(1000)[500...])))
            }
        }
    }

    @Test("What was sent before a file that proves too short has its promise kept", arguments: streamTransports)
    func sentBeforeTooShort(transport: TransportKind) async throws {
        try await Self.withFile(pattern(1000)) { handle in
            try await withAccepted(transport) { it async throws in
                let channel = it.channel
                let (whole, short) = (
                    NIOCore.FileRegion(fileHandle: handle, readerIndex: 0, endIndex: 400),
                    NIOCore.FileRegion(fileHandle: handle, readerIndex: 500, endIndex: 2000)
                )
                let (first, second) = try await it.onLoop {
                    let first = channel.holding(IOData.fileRegion(whole))
                    return (first, channel.sending(IOData.fileRegion(short)))
                }
                try await outcome(first).get()
                #expect((try await failure(second) as? IOError)?.errnoCode == EIO)
            }
        }
    }

    @Test(
        "A region whose handle is closed ends the channel: what is behind it is not sent", arguments: streamTransports)
    func closedHandle(transport: TransportKind) async throws {
        try await Self.withFile(pattern(1000)) { handle in
            try await withAccepted(transport) { it async throws in
                let (channel, journal) = (it.channel, it.journal)
                let region = NIOCore.FileRegion(fileHandle: handle, readerIndex: 0, endIndex: 1000)
                try handle.close()
                try await it.onLoop {
                    channel.holding(ByteBuffer(string: "before")).whenSuccess { journal.note("before") }
                    channel.holding(IOData.fileRegion(region)).whenFailure { _ in journal.note("region") }
                    channel.holding(ByteBuffer(string: "behind")).whenFailure { _ in journal.note("behind") }
                    channel.flush()
                }
                try await outcome(channel.closeFuture).get()
                #expect(try await it.peer.receiveToEnd() == Array("before".utf8))
                let told = journal.events.filter { ["before", "region", "behind"].contains($0) }
                #expect(told == ["before", "region", "behind"])
            }
        }
    }

    @Test("Regions that were flushed before a close reach the peer", arguments: streamTransports)
    func closeBehind(transport: TransportKind) async throws {
        let file = pattern(50_000)
        try await Self.withFile(file) { handle in
            try await withAccepted(transport) { it async throws in
                let (channel, region) = (it.channel, try NIOCore.FileRegion(fileHandle: handle))
                let written = try await it.onLoop {
                    channel.write(ByteBuffer(string: "head"), promise: nil)
                    let written = channel.sending(IOData.fileRegion(region))
                    channel.close(promise: nil)
                    return written
                }
                #expect(try await it.peer.receiveToEnd().isSame(as: Array("head".utf8) + file))
                try await outcome(written).get()
            }
        }
    }

    @Test("Copies of a region share the file, and its position is not moved", arguments: streamTransports)
    func position(transport: TransportKind) async throws {
        let file = pattern(1000)
        try await Self.withFile(file) { handle in
            try await withAccepted(transport) { it async throws in
                let region = try NIOCore.FileRegion(fileHandle: handle)
                let before = try handle.withUnsafeFileDescriptor { lseek($0, 123, SEEK_SET) }
                it.channel.write(IOData.fileRegion(region), promise: nil)
                it.channel.writeAndFlush(IOData.fileRegion(region), promise: nil)
                #expect(try await it.peer.receive(exactly: 2000).isSame(as: file + file))
                #expect(try handle.withUnsafeFileDescriptor { lseek($0, 0, SEEK_CUR) } == before)
            }
        }
    }
}
