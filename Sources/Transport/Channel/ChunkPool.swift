import Glibc

/// A block of bytes in a queue of blocks: filled from the front, sent from the front.
struct Chunk {
    /// Bytes a chunk holds. With its header a chunk is 16 KiB.
    static let capacity = 16 * 1024 - headerSize
    private static let headerSize = 16

    var next: UnsafeMutablePointer<Chunk>?
    /// Offsets of the bytes not yet sent, and of the room not yet filled.
    var start: UInt16 = 0
    var end: UInt16 = 0
    /// Who needs its bytes: the queue it stands in, and sends without copying that the kernel has not let go of.
    var references: UInt32 = 1

    static func bytes(of chunk: UnsafeMutablePointer<Chunk>) -> UnsafeMutableRawPointer {
        assert(MemoryLayout<Chunk>.size <= headerSize)
        return UnsafeMutableRawPointer(chunk) + headerSize
    }
}

/// A loop's spare chunks. Bounded: beyond ``spareMax`` a chunk goes back to the allocator.
final class ChunkPool {
    /// 1 MiB at most lies idle in a loop.
    static let spareMax = 64

    private struct State {
        var spare: UnsafeMutablePointer<Chunk>?
        var spareCount = 0
        var takenCount = 0
    }

    // Behind a pointer, so that the hot path makes no exclusivity check.
    private let state = UnsafeMutablePointer<State>.allocate(capacity: 1)

    init() {
        state.initialize(to: State())
    }

    /// Chunks taken and not given back.
    var takenCount: Int { state.pointee.takenCount }

    deinit {
        while let chunk = state.pointee.spare {
            state.pointee.spare = chunk.pointee.next
            free(chunk)
        }
        state.deallocate()
    }

    /// An empty chunk with one reference, the caller's.
    func take() -> UnsafeMutablePointer<Chunk> {
        state.pointee.takenCount += 1
        if let chunk = state.pointee.spare {
            state.pointee.spare = chunk.pointee.next
            state.pointee.spareCount -= 1
            chunk.initialize(to: Chunk())
            return chunk
        }
        guard let memory = malloc(16 * 1024) else { preconditionFailure("out of memory") }
        let chunk = memory.bindMemory(to: Chunk.self, capacity: 1)
        chunk.initialize(to: Chunk())
        return chunk
    }

    /// Drops a reference to a chunk. With the last one it is spare again.
    func give(_ chunk: UnsafeMutablePointer<Chunk>) {
        guard chunk.pointee.references == 1 else {
            chunk.pointee.references -= 1
            return
        }
        assert(state.pointee.takenCount > 0, "a chunk is given back once")
        state.pointee.takenCount -= 1
        guard state.pointee.spareCount < Self.spareMax else { return free(chunk) }
        chunk.pointee.next = state.pointee.spare
        state.pointee.spare = chunk
        state.pointee.spareCount += 1
    }
}
