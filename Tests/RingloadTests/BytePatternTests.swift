import Testing

@testable import ringload

@Suite("what comes back is compared")
struct BytePatternTests {
    private let pattern = BytePattern(pieceMax: 4096)

    /// The first `count` bytes that connection `index` sends.
    private func stream(_ index: Int, _ count: Int) -> [UInt8] {
        var cursor = BytePattern.start(ofConnection: index)
        var bytes: [UInt8] = []
        while bytes.count < count {
            let piece = pattern.piece(at: cursor, count: min(100, count - bytes.count))
            bytes += piece
            cursor.advance(piece.count)
        }
        return bytes
    }

    private func firstMismatch(_ bytes: [UInt8], connection index: Int = 3) -> Int? {
        bytes.withUnsafeBytes { pattern.firstMismatch($0, at: BytePattern.start(ofConnection: index)) }
    }

    private func matches(_ bytes: [UInt8], connection index: Int = 3) -> Bool {
        bytes.withUnsafeBytes { pattern.matches($0, at: BytePattern.start(ofConnection: index)) }
    }

    @Test("the bytes that were sent match, in any pieces and beyond the pattern's period")
    func same() {
        let bytes = stream(3, 3 * BytePattern.period + 17)
        #expect(matches(bytes))
        var cursor = BytePattern.start(ofConnection: 3)
        for start in stride(from: 0, to: bytes.count, by: 777) {
            let piece = bytes[start..<min(start + 777, bytes.count)]
            #expect(piece.withUnsafeBytes { pattern.matches($0, at: cursor) })
            cursor.advance(piece.count)
        }
        #expect(matches([]))
    }

    @Test("one byte changed, swapped with the next, missing or repeated is found where it is")
    func damaged() throws {
        let bytes = stream(3, 2000)
        let place = try #require((500..<600).first { Set(bytes[$0 - 1...$0 + 1]).count == 3 })
        var changed = bytes
        changed[place] ^= 1
        #expect(!matches(changed) && firstMismatch(changed) == place)
        var swapped = bytes
        swapped.swapAt(place, place + 1)
        #expect(!matches(swapped) && firstMismatch(swapped) == place)
        var missing = bytes
        missing.remove(at: place)
        #expect(!matches(missing) && firstMismatch(missing) == place)
        var repeated = bytes
        repeated.insert(bytes[place], at: place)
        #expect(!matches(repeated) && firstMismatch(repeated) == place + 1)
    }

    @Test("a message left out or sent twice is found at any size")
    func shifted() {
        let bytes = stream(3, 40_000)
        for size in [8, 64, 1000, 4096, 16_384] {
            #expect(!matches(Array(bytes[size..<2 * size])), "\(size) bytes later")
            let twice = Array(bytes[..<size] + bytes[..<size])
            #expect(!matches(twice), "\(size) bytes twice")
        }
    }

    @Test("bytes of another connection do not match")
    func otherConnection() {
        for index in 0..<500 where index != 3 { #expect(!matches(stream(index, 64))) }
    }
}
