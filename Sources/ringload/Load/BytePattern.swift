import Glibc

/// The endless stream of bytes that each connection sends, and expects to come back: pseudo-random with a prime period, begun
/// at another place by each connection. So a byte that was changed, left out, repeated or given to the wrong connection shows.
///
/// The memory lies there once, some bytes longer than the period: a piece from any position is in one block, and
/// checking it is one memcmp(3).
final class BytePattern {
    /// Short enough to stay in the processor's nearest cache along with what else a small message touches.
    static let period = 16_381
    /// Bytes of a piece at most.
    let pieceMax: Int
    private let memory: UnsafeMutableRawBufferPointer

    init(pieceMax: Int) {
        self.pieceMax = pieceMax
        memory = .allocate(byteCount: Self.period + pieceMax, alignment: 64)
        // SplitMix64 (Steele, Lea and Flood, 2014), a byte of each word.
        var state: UInt64 = 0x9e37_79b9_7f4a_7c15
        for index in 0..<min(Self.period, memory.count) {
            state &+= 0x9e37_79b9_7f4a_7c15
            var word = (state ^ (state >> 30)) &* 0xbf58_476d_1ce4_e5b9
            word = (word ^ (word >> 27)) &* 0x94d0_49bb_1331_11eb
            memory[index] = UInt8(truncatingIfNeeded: word >> 32)
        }
        for index in Self.period..<memory.count { memory[index] = memory[index - Self.period] }
    }

    deinit {
        memory.deallocate()
    }

    /// Where a connection begins: far from where its neighbours do.
    static func start(ofConnection index: Int) -> PatternCursor {
        PatternCursor(position: index &* 6_007 % period)
    }

    /// The next bytes at `cursor`, `pieceMax` at most.
    @inline(__always)
    func piece(at cursor: PatternCursor, count: Int) -> UnsafeRawBufferPointer {
        assert(count <= pieceMax)
        return UnsafeRawBufferPointer(start: memory.baseAddress! + cursor.position, count: count)
    }

    /// Whether `bytes` are those that belong at `cursor`.
    @inline(__always)
    func matches(_ bytes: UnsafeRawBufferPointer, at cursor: PatternCursor) -> Bool {
        guard bytes.count > pieceMax else {
            return bytes.isEmpty
                || memcmp(bytes.baseAddress!, memory.baseAddress! + cursor.position, bytes.count) == 0
        }
        return firstMismatch(bytes, at: cursor) == nil
    }

    /// The first byte of `bytes` that does not belong at `cursor`; slow.
    func firstMismatch(_ bytes: UnsafeRawBufferPointer, at cursor: PatternCursor) -> Int? {
        var cursor = cursor
        for (index, byte) in bytes.enumerated() {
            if byte != memory[cursor.position] { return index }
            cursor.advance(1)
        }
        return nil
    }
}

/// A place in the stream of one connection.
struct PatternCursor: Equatable {
    fileprivate(set) var position: Int

    @inline(__always)
    mutating func advance(_ count: Int) {
        position &+= count
        if position >= BytePattern.period {
            position &-= BytePattern.period
            if position >= BytePattern.period { position %= BytePattern.period }
        }
    }
}
