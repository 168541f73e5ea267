import Glibc

/// A message header and the vector it points to, in one allocation.
struct GatherMemory {
    private var header = msghdr()
    private var vector = InlineArray<8, iovec>(repeating: iovec())

    /// Room for ``ByteQueue/gatherMax`` entries.
    static func vector(of memory: UnsafeMutablePointer<GatherMemory>) -> UnsafeMutablePointer<iovec> {
        assert(ByteQueue.gatherMax == 8)
        let offset = MemoryLayout<GatherMemory>.offset(of: \.vector)!
        return (UnsafeMutableRawPointer(memory) + offset).assumingMemoryBound(to: iovec.self)
    }

    /// A message of the vector's first entries, valid as long as `memory` is.
    static func message(in memory: UnsafeMutablePointer<GatherMemory>, entries: Int) -> UnsafePointer<msghdr> {
        assert((1...ByteQueue.gatherMax).contains(entries), "an empty vector would be sent for ever")
        memory.pointee.header.msg_iov = vector(of: memory)
        memory.pointee.header.msg_iovlen = entries
        return UnsafeRawPointer(memory).assumingMemoryBound(to: msghdr.self)
    }
}
