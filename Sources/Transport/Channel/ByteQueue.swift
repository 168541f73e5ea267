import Glibc

/// Bytes in order, in chunks from the loop's pool: what a connection has yet to send, or has received while paused.
///
/// The chunks at the front may be in the kernel's hands; appending behind them is allowed, freeing them is not
/// before `consume`. The owner calls `removeAll` before it lets go.
struct ByteQueue {
    private var head: UnsafeMutablePointer<Chunk>?
    private var tail: UnsafeMutablePointer<Chunk>?
    /// Bytes queued, those in the kernel's hands included.
    private(set) var count = 0

    /// Chunks gathered into one message at most: 128 KiB.
    static let gatherMax = 8

    var isEmpty: Bool { count == 0 }

    mutating func append(_ bytes: UnsafeRawBufferPointer, from pool: ChunkPool) {
        guard var source = bytes.baseAddress else { return }
        var left = bytes.count
        while left > 0 {
            let chunk = roomyTail(pool)
            let room = Chunk.capacity - Int(chunk.pointee.end)
            let number = min(room, left)
            memcpy(Chunk.bytes(of: chunk) + Int(chunk.pointee.end), source, number)
            chunk.pointee.end += UInt16(truncatingIfNeeded: number)
            source += number
            left -= number
            count += number
        }
    }

    private mutating func roomyTail(_ pool: ChunkPool) -> UnsafeMutablePointer<Chunk> {
        if let tail, Int(tail.pointee.end) < Chunk.capacity { return tail }
        let chunk = pool.take()
        if let tail { tail.pointee.next = chunk } else { head = chunk }
        tail = chunk
        return chunk
    }

    /// The bytes of the first chunk; empty when the queue is.
    var front: UnsafeRawBufferPointer {
        guard let head else { return UnsafeRawBufferPointer(start: nil, count: 0) }
        return Self.bytes(head)
    }

    /// Whether all bytes are in the first chunk.
    var isContiguous: Bool { head == tail }

    /// Describes at most `limit` bytes of the front chunks in `vector`; returns how many entries and bytes were used.
    func gather(into vector: UnsafeMutablePointer<iovec>, limit: Int = .max) -> (entries: Int, bytes: Int) {
        var chunk = head
        var entries = 0
        var bytes = 0
        while let current = chunk, entries < Self.gatherMax, bytes < limit {
            let part = Self.bytes(current)
            let number = min(part.count, limit - bytes)
            vector[entries] = iovec(iov_base: UnsafeMutableRawPointer(mutating: part.baseAddress), iov_len: number)
            entries += 1
            bytes += number
            chunk = current.pointee.next
        }
        return (entries, bytes)
    }

    /// Takes a reference to each of the first `number` chunks and notes them in `chunks`.
    func hold(_ number: Int, in chunks: inout InlineArray<8, UnsafeMutablePointer<Chunk>?>) {
        var chunk = head
        for index in 0..<number {
            guard let current = chunk else { preconditionFailure("more chunks held than queued") }
            current.pointee.references += 1
            chunks[index] = current
            chunk = current.pointee.next
        }
    }

    private static func bytes(_ chunk: UnsafeMutablePointer<Chunk>) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(
            start: Chunk.bytes(of: chunk) + Int(chunk.pointee.start),
            count: Int(chunk.pointee.end - chunk.pointee.start))
    }

    /// Drops the first `number` bytes and gives emptied chunks back.
    mutating func consume(_ number: Int, into pool: ChunkPool) {
        precondition(number <= count, "more bytes consumed than queued")
        count -= number
        var left = number
        while let chunk = head {
            let held = Int(chunk.pointee.end - chunk.pointee.start)
            if left < held {
                chunk.pointee.start += UInt16(truncatingIfNeeded: left)
                return
            }
            left -= held
            head = chunk.pointee.next
            pool.give(chunk)
        }
        tail = nil
        assert(left == 0 && count == 0)
    }

    /// Takes the first chunk out, the whole of it being `front`. The caller gives it back to the pool.
    mutating func removeFront() -> UnsafeMutablePointer<Chunk> {
        guard let chunk = head else { preconditionFailure("nothing is queued") }
        count -= Int(chunk.pointee.end - chunk.pointee.start)
        head = chunk.pointee.next
        if head == nil { tail = nil }
        return chunk
    }

    mutating func removeAll(into pool: ChunkPool) {
        consume(count, into: pool)
    }
}
