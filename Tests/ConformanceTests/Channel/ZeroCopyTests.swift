import Foundation
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Zero-copy sends")
struct ZeroCopyTests {
    private static func configuration(threshold: Int) -> ConnectionConfiguration {
        var configuration = ConnectionConfiguration()
        configuration.zeroCopyThreshold = threshold
        return configuration
    }

    @Test(
        "bytes of every size arrive byte-exact at a slow reader, and all memory is given back (netty 24)",
        arguments: across(TransportMode.available, AddressFamily.allCases, [1, 10_000]))
    func byteExact(mode: TransportMode, family: AddressFamily, threshold: Int) throws {
        let endless = EndlessPattern(seed: 3)
        let total = 20 << 20
        let server = try TestServer(
            mode, family.address, connection: Self.configuration(threshold: threshold), sendBuffer: 100_000
        ) { connection in
            var generator = SeededGenerator(seed: UInt64(threshold))
            var written = 0
            connection.onFlushed = { connection in
                for _ in 0..<10 where written < total {
                    let sizes = [1, 100, 9_999, 16_368, 50_000, 300_000]
                    let count = min(sizes.randomElement(using: &generator)!, total - written)
                    _ = endless.piece(at: written, count: count).withUnsafeBytes { connection.write($0) }
                    written += count
                }
                if written == total { connection.finishOutput() }
            }
            connection.onFlushed?(connection)
        }
        let peer = try Peer(connectingTo: server.address, receiveBuffer: 50_000)
        var received = 0
        while case let part = try peer.receive(upTo: 70_000), !part.isEmpty {
            try #require(endless.matches(part, at: received))
            received += part.count
        }
        #expect(received == total)
        peer.finishOutput()
        #expect(try server.recorder.waitForEnd() == .finished)
        try eventually("memory") { try server.thread.on { $0.chunks.takenCount + $0.channelCount } == 1 }
        try server.join()
    }

    @Test(
        "what the user may not lock in memory is copied, and arrives (netty 24)",
        .needsRoot, arguments: TransportMode.available.filter(\.hasRing))
    func shortOfLockedMemory(mode: TransportMode) async {
        await #expect(processExitsWith: .success) { [mode] in
            try Confinement.limitLockedMemory(bytes: 1 << 20)
            // More than the limit, in one piece.
            let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 4 << 20, alignment: 16)
            bytes.copyBytes(from: pattern(bytes.count))
            // Sendable: nobody writes to it any more, on any thread.
            nonisolated(unsafe) let memory = UnsafeRawBufferPointer(bytes)
            let server = try TestServer(mode, connection: Self.configuration(threshold: 10_000))
            let peer = try Peer(connectingTo: server.address)
            try server.first { _ = $0.write(uncopied: memory) {} }
            #expect(try peer.receive(exactly: memory.count).elementsEqual(memory))
            try server.join()
        }
    }

    enum Ending: CaseIterable {
        case peerReads, peerCloses, userTimeout
    }

    /// Gathered from chunks, or one piece of the service's own memory.
    enum Source: CaseIterable { case chunks, uncopied }

    @Test(
        "memory is kept while the peer does not read, and given back however that ends (netty 24)",
        .needsRing, .needsLockedMemory(bytes: 16 << 20),
        arguments: across(TransportMode.available.filter(\.hasRing), Ending.allCases, Source.allCases))
    func endings(mode: TransportMode, ending: Ending, source: Source) throws {
        let total = 1 << 20
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: total, alignment: 16)
        defer { memory.deallocate() }
        memory.copyBytes(from: pattern(total))
        // Sendable: nobody writes to it any more.
        nonisolated(unsafe) let bytes = UnsafeRawBufferPointer(memory)
        let released = Recorder<Bool>()
        let server = try TestServer(
            mode, connection: Self.configuration(threshold: 10_000), sendBuffer: 4 << 20
        ) { connection in
            connection.onInputEnded = { _ in }
            // TCP_USER_TIMEOUT of tcp(7), in milliseconds.
            if ending == .userTimeout { #expect(Socket.set(connection.fd, Int32(IPPROTO_TCP), 18, 1000)) }
        }
        let peer = try Peer(connectingTo: server.address, receiveBuffer: 20_000)
        // The rest is copied once all slots are taken: four sends of eight chunks each are enough.
        let count = source == .chunks ? 400_000 : total
        try server.first { connection in
            switch source {
            case .chunks: connection.write(UnsafeRawBufferPointer(rebasing: bytes[..<count]))
            case .uncopied: connection.write(uncopied: bytes) { released.record(true) }
            }
        }
        let isKept = { @Sendable () throws -> Bool in
            switch source {
            case .chunks: try server.thread.on { $0.chunks.takenCount } > 0
            case .uncopied: released.all.isEmpty
            }
        }
        try server.recorder.wait { $0.contains(.flushed) }
        #expect(try server.first { $0.queuedBytes } == 0)
        #expect(try isKept(), "the kernel has taken the bytes, but cannot have sent them all")
        switch ending {
        case .peerReads:
            #expect(try peer.receive(exactly: count) == pattern(total).prefix(count).map { $0 })
            try eventually("memory") { try !isKept() }
            try server.first { $0.close() }
            #expect(try server.recorder.waitForEnd() == .closed)
        case .peerCloses:
            // With bytes unread: RST.
            peer.close()
            #expect(try server.recorder.waitForEnd() == .reset)
        case .userTimeout:
            try server.first { $0.close() }
            #expect(try server.recorder.waitForEnd() == .closed)
            #expect(try isKept(), "closed() is told before the memory is given back")
        }
        try eventually(within: 20, "memory") { try !isKept() }
        try eventually("registration") { try server.thread.on { $0.channelCount } == 1 }
        #expect(source == .chunks || released.all == [true])
        withExtendedLifetime(peer) {}
        try server.join()
    }
}
