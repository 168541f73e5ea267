import Glibc

/// Pseudo-random and repeatable: a failing seed can be run again.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed &* 0x9e37_79b9_7f4a_7c15 | 1 }

    mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state &* 0x2545_f491_4f6c_dd1d
    }
}

/// Repeatable bytes without structure, so that a swap or a gap shows.
func pattern(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
    var generator = SeededGenerator(seed: seed)
    var bytes = [UInt8](repeating: 0, count: count)
    var index = 0
    while index < count {
        var word = generator.next()
        for _ in 0..<min(8, count - index) {
            bytes[index] = UInt8(truncatingIfNeeded: word)
            word >>= 8
            index += 1
        }
    }
    return bytes
}

/// An endless stream of bytes whose value at each position is known: for tests too long to keep what they send.
/// Its period is a prime, so that no buffer size hides a shift.
struct EndlessPattern: Sendable {
    private static let period = 65_537
    private let bytes: [UInt8]

    /// Longest piece that can be asked for or checked at once.
    static let pieceMax = 1 << 20

    init(seed: UInt64 = 1) {
        let once = pattern(Self.period, seed: seed)
        var bytes: [UInt8] = []
        while bytes.count < Self.period + Self.pieceMax { bytes += once }
        self.bytes = bytes
    }

    func piece(at position: Int, count: Int) -> ArraySlice<UInt8> {
        let start = position % Self.period
        return bytes[start..<start + count]
    }

    func matches(_ other: [UInt8], at position: Int) -> Bool {
        piece(at: position, count: other.count).withUnsafeBytes { left in
            other.withUnsafeBytes { right in
                left.isEmpty || memcmp(left.baseAddress!, right.baseAddress!, left.count) == 0
            }
        }
    }
}
