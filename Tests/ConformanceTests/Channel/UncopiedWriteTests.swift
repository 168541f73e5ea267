import Foundation
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Connection: uncopied writes")
struct UncopiedWriteTests {
    /// Memory that says when it is given back, and is overwritten then: so bytes sent too late would show.
    // Sendable: filled before it is shared, and overwritten once, by the loop.
    private final class Memory: @unchecked Sendable {
        let bytes: UnsafeMutableRawBufferPointer
        let released = Recorder<Bool>()

        init(_ content: some Collection<UInt8>) {
            bytes = .allocate(byteCount: content.count, alignment: 16)
            bytes.copyBytes(from: content)
        }

        deinit { bytes.deallocate() }

        func write(to connection: Connection) -> Bool {
            connection.write(uncopied: UnsafeRawBufferPointer(bytes)) {
                self.bytes.initializeMemory(as: UInt8.self, repeating: 0xee)
                self.released.record(true)
            }
        }
    }

    @Test(
        "uncopied pieces and plain bytes arrive in order and byte-exact, and each piece is released once",
        arguments: across(TransportMode.available, AddressFamily.allCases, [nil, 5000]))
    func interleaved(mode: TransportMode, family: AddressFamily, threshold: Int?) throws {
        let endless = EndlessPattern(seed: 9)
        let total = 4_000_000
        var configuration = ConnectionConfiguration()
        configuration.zeroCopyThreshold = threshold
        let server = try TestServer(mode, family.address, connection: configuration) { connection in
            _ = Socket.set(connection.fd, SOL_SOCKET, SO_SNDBUF, 20_000)
        }
        let peer = try Peer(connectingTo: server.address, receiveBuffer: 20_000)
        let memories = try server.first { connection in
            var generator = SeededGenerator(seed: 4)
            var memories: [Memory] = []
            var written = 0
            while written < total {
                let count = min(Int.random(in: 1...200_000, using: &generator), total - written)
                let piece = endless.piece(at: written, count: count)
                if Bool.random(using: &generator) {
                    memories.append(Memory(piece))
                    #expect(memories.last!.write(to: connection))
                } else {
                    _ = piece.withUnsafeBytes { connection.write($0) }
                }
                written += count
            }
            #expect(connection.queuedBytes == total && !connection.isWritable)
            connection.finishOutput()
            return memories
        }
        #expect(memories.count > 3)
        var received = 0
        while case let part = try peer.receive(upTo: 30_000), !part.isEmpty {
            try #require(endless.matches(part, at: received))
            received += part.count
        }
        #expect(received == total)
        for memory in memories { try memory.released.wait { $0 == [true] } }
        peer.finishOutput()
        #expect(try server.recorder.waitForEnd() == .finished)
        #expect(server.recorder.events.filter { $0 != .becameWritable } == [.flushed, .inputEnded, .closed(.finished)])
        try server.join()
    }

    @Test(
        "a piece that is not queued is released at once; one that is dropped, when the connection has closed",
        arguments: TransportMode.available)
    func dropped(mode: TransportMode) throws {
        var configuration = ConnectionConfiguration()
        configuration.queuedBytesMax = 2_000_000
        let server = try TestServer(mode, connection: configuration) { connection in
            _ = Socket.set(connection.fd, SOL_SOCKET, SO_SNDBUF, 4096)
        }
        let peer = try Peer(connectingTo: server.address, receiveBuffer: 4096)
        let memories = [1_500_000, 500_001, 1].map { Memory([UInt8](repeating: 1, count: $0)) }
        try server.first { connection in
            #expect(memories[0].write(to: connection) && memories[0].released.all.isEmpty)
            #expect(!memories[1].write(to: connection), "too much")
            #expect(memories[1].released.all == [true])
            #expect(!memories[2].write(to: connection), "closing")
            #expect(memories[2].released.all == [true])
        }
        #expect(try server.recorder.waitForEnd() == .writeQueueOverflow)
        try memories[0].released.wait { $0 == [true] }
        withExtendedLifetime(peer) {}
        try server.join()
    }

    @Test("an empty piece is released at once and sends nothing", arguments: TransportMode.available)
    func empty(mode: TransportMode) throws {
        let server = try TestServer(mode)
        let peer = try Peer(connectingTo: server.address)
        let memory = Memory([])
        try server.first { connection in
            #expect(memory.write(to: connection) && memory.released.all == [true])
            connection.write("x")
            connection.finishOutput()
        }
        #expect(try peer.receiveToEnd() == Array("x".utf8))
        try server.join()
    }
}
