/// A block of bytes in a queue of blocks: filled from the front, sent from the front. This is a handle, as cheap to copy as
/// a pointer; the block lives until its last reference is given back to its ``ChunkPool``.
///
/// Most are blocks of the pool's own. Some are receive buffers that came full and are sent from where they lie.
struct Chunk: Hashable {
    struct Header {
        var next: Chunk?
        /// Where the bytes lie.
        var base: UnsafeMutableRawPointer
        /// Offsets of the bytes not yet sent, and of the room not yet filled.
        var start: UInt32 = 0
        var end: UInt32 = 0
        /// Where the room ends.
        var capacity: UInt32
        /// Who needs its bytes: the queue it stands in, and sends without copying that the kernel has not let go of.
        var references: UInt32 = 1
        /// The receive buffer that the bytes lie in.
        var lent: UInt16?
    }

    let header: UnsafeMutablePointer<Header>

    /// Bytes a block of the pool's own holds. With its header it is 16 KiB.
    static let capacity = blockSize - headerSize
    static let blockSize = 16 * 1024
    /// A multiple of 16, so that the bytes are aligned as malloc(3) aligns.
    static let headerSize = 48

    /// Received bytes that are worth more where they lie than the receive buffer they occupy: fewer are copied in less
    /// time than it takes to account for the buffer.
    static let lentMin = 2 * 1024

    /// The bytes not yet sent.
    @inline(__always)
    var bytes: UnsafeRawBufferPointer {
        let header = header.pointee
        return UnsafeRawBufferPointer(start: header.base + Int(header.start), count: Int(header.end &- header.start))
    }

    /// How many bytes are not yet sent.
    @inline(__always)
    var count: Int { Int(header.pointee.end &- header.pointee.start) }

    /// How many more bytes fit.
    @inline(__always)
    var room: Int { Int(header.pointee.capacity &- header.pointee.end) }
}
