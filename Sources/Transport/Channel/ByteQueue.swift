import Glibc

/// Bytes in order, in chunks from the loop's pool: what a connection has yet to send, or has received while paused.
///
/// The chunks at the front may be in the kernel's hands; appending behind them is allowed, freeing them is not
/// before `consume`. The owner calls `removeAll` before it lets go.
struct ByteQueue {
    private var head: Chunk?
    private var tail: Chunk?
    /// Bytes queued, those in the kernel's hands included.
    private(set) var count = 0

    /// Chunks gathered into one message at most: 128 KiB.
    static let gatherMax = 8

    @inline(__always)
    var isEmpty: Bool { count == 0 }

    @inline(__always)
    mutating func append(_ bytes: UnsafeRawBufferPointer, from pool: ChunkPool) {
        guard head == nil, bytes.count <= Chunk.capacity, let source = bytes.baseAddress, !bytes.isEmpty else {
            return appendPieces(bytes, from: pool)
        }
        let chunk = pool.take()
        memcpy(chunk.header.pointee.base, source, bytes.count)
        chunk.header.pointee.end = UInt32(truncatingIfNeeded: bytes.count)
        head = chunk
        tail = chunk
        count = bytes.count
    }

    @inline(never)
    private mutating func appendPieces(_ bytes: UnsafeRawBufferPointer, from pool: ChunkPool) {
        guard var source = bytes.baseAddress else { return }
        var left = bytes.count
        while left > 0 {
            let chunk = roomyTail(pool)
            let number = min(chunk.room, left)
            memcpy(chunk.header.pointee.base + Int(chunk.header.pointee.end), source, number)
            chunk.header.pointee.end += UInt32(truncatingIfNeeded: number)
            source += number
            left -= number
            count += number
        }
    }

    private mutating func roomyTail(_ pool: ChunkPool) -> Chunk {
        if let tail, tail.room > 0 { return tail }
        let chunk = pool.take()
        append(chunk)
        return chunk
    }

    /// Appends a chunk and what is in it; the reference is the queue's from now on.
    mutating func append(_ chunk: Chunk) {
        if let tail { tail.header.pointee.next = chunk } else { head = chunk }
        tail = chunk
        count += chunk.count
    }

    /// The bytes of the first chunk; empty when the queue is.
    @inline(__always)
    var front: UnsafeRawBufferPointer {
        guard let head else { return UnsafeRawBufferPointer(start: nil, count: 0) }
        return head.bytes
    }

    /// Whether all bytes are in the first chunk.
    var isContiguous: Bool { head == tail }

    /// Describes at most `limit` bytes of the front chunks in `vector`; returns how many entries and bytes were used.
    func gather(into vector: UnsafeMutablePointer<iovec>, limit: Int = .max) -> (entries: Int, bytes: Int) {
        var chunk = head
        var entries = 0
        var bytes = 0
        while let current = chunk, entries < Self.gatherMax, bytes < limit {
            let part = current.bytes
            let number = min(part.count, limit - bytes)
            vector[entries] = iovec(iov_base: UnsafeMutableRawPointer(mutating: part.baseAddress), iov_len: number)
            entries += 1
            bytes += number
            chunk = current.header.pointee.next
        }
        return (entries, bytes)
    }

    /// Takes a reference to each of the first `number` chunks and notes them in `chunks`.
    func hold(_ number: Int, in chunks: inout InlineArray<8, Chunk?>) {
        var chunk = head
        for index in 0..<number {
            guard let current = chunk else { preconditionFailure("more chunks held than queued") }
            current.header.pointee.references += 1
            chunks[index] = current
            chunk = current.header.pointee.next
        }
    }

    /// Drops the first `number` bytes and gives emptied chunks back.
    @inline(__always)
    mutating func consume(_ number: Int, into pool: ChunkPool) {
        guard number == count, let chunk = head, chunk == tail else { return consumePieces(number, into: pool) }
        head = nil
        tail = nil
        count = 0
        pool.give(chunk)
    }

    @inline(never)
    private mutating func consumePieces(_ number: Int, into pool: ChunkPool) {
        precondition(number <= count, "more bytes consumed than queued")
        count -= number
        var left = number
        while let chunk = head {
            let held = chunk.count
            if left < held {
                chunk.header.pointee.start += UInt32(truncatingIfNeeded: left)
                return
            }
            left -= held
            head = chunk.header.pointee.next
            pool.give(chunk)
        }
        tail = nil
        assert(left == 0 && count == 0)
    }

    /// Takes the first chunk out, the whole of it being `front`. The caller gives it back to the pool.
    mutating func removeFront() -> Chunk {
        guard let chunk = head else { preconditionFailure("nothing is queued") }
        count -= chunk.count
        head = chunk.header.pointee.next
        if head == nil { tail = nil }
        return chunk
    }

    mutating func removeAll(into pool: ChunkPool) {
        consume(count, into: pool)
    }
}
