import Glibc

/// A loop's spare chunks. Bounded: beyond ``spareMax`` a chunk goes back to the allocator. This is a handle, which costs
/// the hot path no reference counting; who makes one destroys it. Loop thread only.
struct ChunkPool {
    /// 1 MiB at most lies idle in a loop.
    static let spareMax = 64

    private struct State: ~Copyable {
        var spare: Chunk?
        var spareCount = 0
        var takenCount = 0
        /// Receive buffers that nobody needs any more.
        var returned = GrowingBuffer<UInt16>(capacity: 64)
    }

    private let state = UnsafeMutablePointer<State>.allocate(capacity: 1)

    init() {
        state.initialize(to: State())
    }

    /// Frees what is spare. Nothing that is taken may be given back any more.
    func destroy() {
        while let chunk = state.pointee.spare {
            state.pointee.spare = chunk.header.pointee.next
            free(chunk.header)
        }
        state.deinitialize(count: 1)
        state.deallocate()
    }

    /// Chunks taken and not given back.
    var takenCount: Int { state.pointee.takenCount }

    /// An empty chunk with one reference, the caller's.
    @inline(__always)
    func take() -> Chunk {
        state.pointee.takenCount &+= 1
        guard let chunk = state.pointee.spare else { return allocate() }
        let header = chunk.header
        state.pointee.spare = header.pointee.next
        state.pointee.spareCount &-= 1
        header.pointee.next = nil
        header.pointee.start = 0
        header.pointee.end = 0
        assert(header.pointee.references == 0 && header.pointee.lent == nil, "a spare chunk is nobody's")
        header.pointee.references = 1
        return chunk
    }

    @inline(never)
    private func allocate() -> Chunk {
        assert(MemoryLayout<Chunk.Header>.size <= Chunk.headerSize)
        return initialize(Chunk.blockSize) {
            Chunk.Header(base: UnsafeMutableRawPointer($0) + Chunk.headerSize, capacity: UInt32(Chunk.capacity))
        }
    }

    private func initialize(
        _ size: Int, _ header: (UnsafeMutablePointer<Chunk.Header>) -> Chunk.Header
    ) -> Chunk {
        guard let memory = malloc(size) else { preconditionFailure("out of memory") }
        let place = memory.bindMemory(to: Chunk.Header.self, capacity: 1)
        place.initialize(to: header(place))
        return Chunk(header: place)
    }

    /// A chunk with one reference, the caller's, whose bytes are a receive buffer's: full, without room.
    func take(lent buffer: UInt16, _ bytes: UnsafeRawBufferPointer) -> Chunk {
        guard let base = bytes.baseAddress else { preconditionFailure("a buffer without bytes is not lent") }
        state.pointee.takenCount &+= 1
        let count = UInt32(bytes.count)
        return initialize(Chunk.headerSize) { _ in
            Chunk.Header(base: UnsafeMutableRawPointer(mutating: base), end: count, capacity: count, lent: buffer)
        }
    }

    /// Drops a reference to a chunk. With the last one it is spare again.
    @inline(__always)
    func give(_ chunk: Chunk) {
        let header = chunk.header
        assert(header.pointee.references > 0 && state.pointee.takenCount > 0, "a chunk is given back once")
        header.pointee.references &-= 1
        guard header.pointee.references == 0 else { return }
        state.pointee.takenCount &-= 1
        guard header.pointee.lent == nil, state.pointee.spareCount < Self.spareMax else { return release(chunk) }
        header.pointee.next = state.pointee.spare
        state.pointee.spare = chunk
        state.pointee.spareCount &+= 1
    }

    @inline(never)
    private func release(_ chunk: Chunk) {
        if let buffer = chunk.header.pointee.lent { state.pointee.returned.append(buffer) }
        free(chunk.header)
    }

    /// Whether ``takeReturned(_:)`` would tell of any.
    var hasReturned: Bool { !state.pointee.returned.isEmpty }

    /// Tells of each receive buffer that nobody needs any more, once.
    func takeReturned(_ buffer: (UInt16) -> Void) {
        for index in 0..<state.pointee.returned.count { buffer(state.pointee.returned[index]) }
        state.pointee.returned.removeAll()
    }
}
