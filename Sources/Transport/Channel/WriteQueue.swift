import Glibc

/// What a connection has yet to send, in order: bytes in chunks, and between them segments that are sent otherwise.
///
/// A segment stands at a position in the stream of chunk bytes. Plain bytes know of it by one comparison only: they
/// are sent up to the first segment's position.
struct WriteQueue {
    enum Segment {
        case file(FileRegion)
        case uncopied(UncopiedBytes)
        /// Lies in a pipe; all of what is in it.
        case spliced(SplicePipe, count: Int)
        /// Goes with the first of the `byteCount` chunk bytes behind it.
        case descriptors([OwnedDescriptor], byteCount: Int)

        /// Bytes of its own, those in chunks not counted.
        var count: Int {
            switch self {
            case .file(let region): region.count
            case .uncopied(let memory): memory.bytes.count
            case .spliced(_, let count): count
            case .descriptors: 0
            }
        }
    }

    private struct Placed {
        var segment: Segment
        var position: UInt64
        /// How many bytes of its own are sent.
        var sent = 0
    }

    private var bytes = ByteQueue()
    private var segments: [Placed] = []
    /// Chunk bytes ever sent.
    private var consumed: UInt64 = 0
    /// The first segment's position; the largest number when there is none.
    private var barrier = UInt64.max
    private var uncopiedCount = 0
    /// Bytes of files not yet sent. They take no memory.
    private(set) var fileBytes = 0

    /// Bytes in memory not yet sent.
    var count: Int { bytes.count + uncopiedCount }

    var segmentCount: Int { segments.count }

    var isEmpty: Bool { bytes.isEmpty && barrier == .max }

    /// Whether everything in it is bytes that can be had in memory: no files, no descriptors.
    var isMemory: Bool {
        segments.allSatisfy { placed in
            switch placed.segment {
            case .uncopied, .spliced: true
            case .file, .descriptors: false
            }
        }
    }

    // MARK: Chunk bytes

    @inline(__always)
    mutating func append(_ new: UnsafeRawBufferPointer, from pool: ChunkPool) {
        bytes.append(new, from: pool)
    }

    /// Appends a chunk and what is in it; the reference is the queue's from now on.
    mutating func append(_ chunk: Chunk) {
        bytes.append(chunk)
    }

    /// Chunk bytes that come before the first segment.
    var sendableCount: Int { Int(truncatingIfNeeded: min(UInt64(bytes.count), barrier - consumed)) }

    /// The first chunk's bytes, whether before a segment or behind it.
    var front: UnsafeRawBufferPointer { bytes.front }

    /// Describes at most `limit` chunk bytes in `vector`; returns how many entries were used.
    func gather(into vector: UnsafeMutablePointer<iovec>, limit: Int) -> Int {
        bytes.gather(into: vector, limit: limit).entries
    }

    /// Takes a reference to each of the first `number` chunks and notes them in `chunks`.
    func hold(_ number: Int, in chunks: inout InlineArray<8, Chunk?>) {
        bytes.hold(number, in: &chunks)
    }

    /// The first `number` chunk bytes have been sent.
    @inline(__always)
    mutating func consume(_ number: Int, into pool: ChunkPool) {
        assert(number <= sendableCount, "a segment is overtaken")
        bytes.consume(number, into: pool)
        consumed += UInt64(number)
    }

    // MARK: Segments

    mutating func append(_ segment: Segment) {
        let position = consumed + UInt64(bytes.count)
        if segments.isEmpty { barrier = position }
        segments.append(Placed(segment: segment, position: position))
        switch segment {
        case .file(let region): fileBytes += region.count
        case .uncopied(let memory): uncopiedCount += memory.bytes.count
        case .descriptors, .spliced: break
        }
    }

    /// Whether there are segments, here or behind bytes.
    @inline(__always)
    var hasSegments: Bool { barrier != .max }

    /// Whether the first segment is a file.
    var isFileFirst: Bool {
        if case .file? = segments.first?.segment { true } else { false }
    }

    /// Whether what is to be sent next is a segment.
    var isAtSegment: Bool { barrier == consumed }

    /// The segment to be sent next and how many bytes of its own are sent already; nil when chunk bytes come first.
    var firstSegment: (segment: Segment, sent: Int)? {
        isAtSegment ? (segments[0].segment, segments[0].sent) : nil
    }

    /// `number` bytes of the first segment have been sent, all of them or a part.
    ///
    /// - Returns: the segment, when that was its end. To drop it is the caller's: memory may be given back by it.
    mutating func consumeSegment(_ number: Int) -> Segment? {
        precondition(isAtSegment, "bytes are overtaken")
        segments[0].sent += number
        let first = segments[0]
        assert(first.sent <= first.segment.count, "more of a segment sent than there is")
        switch first.segment {
        case .file: fileBytes -= number
        case .uncopied: uncopiedCount -= number
        case .descriptors, .spliced: break
        }
        guard first.sent == first.segment.count else { return nil }
        segments.removeFirst()
        barrier = segments.first?.position ?? .max
        return first.segment
    }

    /// Drops everything.
    ///
    /// - Returns: the segments, for the caller to drop: memory may be given back by it.
    mutating func removeAll(into pool: ChunkPool) -> [Segment] {
        defer { segments = [] }
        consumed += UInt64(bytes.count)
        bytes.removeAll(into: pool)
        (barrier, uncopiedCount, fileBytes) = (.max, 0, 0)
        return segments.map(\.segment)
    }
}
