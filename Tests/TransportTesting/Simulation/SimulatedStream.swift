import Glibc

@testable import Transport

/// One direction of a simulated connection: an endless stream whose bytes tell which stream they are of, and where.
struct SimulatedStream {
    private static let endless = EndlessPattern(seed: 7)
    private let start: Int

    init(_ dice: Dice) { start = dice.below(1 << 20) }

    /// Puts the stream's bytes from `offset` on into `memory`.
    func copy(to memory: UnsafeMutableRawBufferPointer, from offset: UInt64) {
        guard let base = memory.baseAddress, !memory.isEmpty else { return }
        Self.endless.piece(at: start + Int(offset), count: memory.count).withUnsafeBytes {
            base.copyMemory(from: $0.baseAddress!, byteCount: memory.count)
        }
    }

    /// Whether these are the stream's bytes from `offset` on.
    func matches(_ bytes: UnsafeRawBufferPointer, from offset: UInt64) -> Bool {
        guard let base = bytes.baseAddress, !bytes.isEmpty else { return true }
        return Self.endless.piece(at: start + Int(offset), count: bytes.count).withUnsafeBytes {
            memcmp($0.baseAddress!, base, bytes.count) == 0
        }
    }
}
