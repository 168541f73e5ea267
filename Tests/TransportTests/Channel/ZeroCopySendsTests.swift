import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Sends without copying: their memory")
struct ZeroCopySendsTests {
    @Test("a send takes no more of a large piece than its result can tell")
    func largePiece() throws {
        let sends = ZeroCopySends()
        let owned = OwnedChunkPool()
        // Described only: nobody reads it.
        let start = try #require(UnsafeRawPointer(bitPattern: 4096))
        let piece = UncopiedBytes(UnsafeRawBufferPointer(start: start, count: 5 << 30)) {}
        var sent = 0
        while sent < piece.bytes.count {
            let slot = try #require(sends.freeSlot)
            let message = sends.fill(slot, from: piece, sent: sent)
            #expect(message.pointee.msg_iov[0].iov_base == UnsafeMutableRawPointer(mutating: start + sent))
            #expect(message.pointee.byteCount == 1 << 30)
            sent += message.pointee.byteCount
            _ = sends.free(slot, into: owned.pool)
        }
        #expect(sent == 5 << 30)
    }
}
