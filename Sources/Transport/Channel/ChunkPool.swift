import Glibc

/// A loop's spare chunks. Bounded: beyond ``spareMax`` a chunk goes back to the allocator. This is a handle, which costs
/// the hot path no reference counting; who makes one destroys it. Loop thread only.
struct ChunkPool {
    /// 1 MiB at most lies idle in a loop, and as many headers.
    static let spareMax = 64

    private struct State: ~Copyable {
        /// With their memory.
        var spare = SpareChunks()
        /// Headers of receive buffers that were lent.
        var spareHeaders = SpareChunks()
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
        while let chunk = state.pointee.spare.take() { free(chunk.header) }
        while let chunk = state.pointee.spareHeaders.take() { free(chunk.header) }
        state.deinitialize(count: 1)
        state.deallocate()
    }

    /// Chunks taken and not given back.
    var takenCount: Int { state.pointee.takenCount }

    /// An empty chunk with one reference, the caller's.
    @inline(__always)
    func take() -> Chunk {
        state.pointee.takenCount &+= 1
        guard let chunk = state.pointee.spare.take() else { return allocate() }
        let header = chunk.header
        header.pointee.next = nil
        header.pointee.start = 0
        header.pointee.end = 0
        assert(header.pointee.references == 0 && header.pointee.lent == nil, "a spare chunk is nobody's")
        header.pointee.references = 1
        return chunk
    }

    @inline(never)
    private func allocate() -> Chunk {
        let memory = Self.allocate(Chunk.blockSize)
        return initialize(
            memory, Chunk.Header(base: memory + Chunk.headerSize, capacity: UInt32(Chunk.capacity)))
    }

    private static func allocate(_ size: Int) -> UnsafeMutableRawPointer {
        guard let memory = malloc(size) else { preconditionFailure("out of memory") }
        return memory
    }

    private func initialize(_ memory: UnsafeMutableRawPointer, _ header: Chunk.Header) -> Chunk {
        assert(MemoryLayout<Chunk.Header>.size <= Chunk.headerSize)
        let place = memory.bindMemory(to: Chunk.Header.self, capacity: 1)
        place.initialize(to: header)
        return Chunk(header: place)
    }

    /// A chunk with one reference, the caller's, whose bytes are a receive buffer's: full, without room.
    func take(lent buffer: UInt16, _ bytes: UnsafeRawBufferPointer) -> Chunk {
        guard let base = bytes.baseAddress else { preconditionFailure("a buffer without bytes is not lent") }
        state.pointee.takenCount &+= 1
        let count = UInt32(bytes.count)
        let header = Chunk.Header(
            base: UnsafeMutableRawPointer(mutating: base), end: count, capacity: count, lent: buffer)
        guard let chunk = state.pointee.spareHeaders.take() else {
            return initialize(Self.allocate(Chunk.headerSize), header)
        }
        chunk.header.pointee = header
        return chunk
    }

    /// Drops a reference to a chunk. With the last one it is spare again.
    @inline(__always)
    func give(_ chunk: Chunk) {
        let header = chunk.header
        assert(header.pointee.references > 0 && state.pointee.takenCount > 0, "a chunk is given back once")
        header.pointee.references &-= 1
        guard header.pointee.references == 0 else { return }
        state.pointee.takenCount &-= 1
        if header.pointee.lent == nil, state.pointee.spare.put(chunk) { return }
        release(chunk)
    }

    @inline(never)
    private func release(_ chunk: Chunk) {
        if let buffer = chunk.header.pointee.lent {
            state.pointee.returned.append(buffer)
            if state.pointee.spareHeaders.put(chunk) { return }
        }
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

/// Chunks that nobody has, the one put last on top. At most ``ChunkPool/spareMax``.
private struct SpareChunks {
    private var first: Chunk?
    private var count = 0

    /// Takes one; its header is as it was left.
    @inline(__always)
    mutating func take() -> Chunk? {
        guard let chunk = first else { return nil }
        first = chunk.header.pointee.next
        count &-= 1
        return chunk
    }

    /// Puts one, or returns false when there are enough.
    @inline(__always)
    mutating func put(_ chunk: Chunk) -> Bool {
        guard count < ChunkPool.spareMax else { return false }
        chunk.header.pointee.next = first
        first = chunk
        count &+= 1
        return true
    }
}
