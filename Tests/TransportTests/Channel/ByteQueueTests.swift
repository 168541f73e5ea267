import Glibc
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Byte queue")
struct ByteQueueTests {
    private let owned = OwnedChunkPool()
    private var pool: ChunkPool { owned.pool }

    @Test("random operations agree with an array of bytes, and all memory is given back", arguments: UInt64(1)...8)
    func model(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        var queue = ByteQueue()
        var model: [UInt8] = []
        for step in 0..<400 {
            switch Int.random(in: 0..<12, using: &generator) {
            case 10...:
                let (chunk, bytes) = lend(Int.random(in: 1...20_000, using: &generator), step)
                queue.append(chunk)
                model += bytes
            case ..<5:
                let count = Self.sizes.randomElement(using: &generator)!
                let bytes = pattern(count, seed: UInt64(step))
                bytes.withUnsafeBytes { queue.append($0, from: pool) }
                model += bytes
            case ..<8:
                let count = Int.random(in: 0...min(model.count, 60_000), using: &generator)
                queue.consume(count, into: pool)
                model.removeFirst(count)
            case ..<9 where !queue.isEmpty:
                let front = Array(queue.front)
                pool.give(queue.removeFront())
                #expect(front == Array(model.prefix(front.count)))
                model.removeFirst(front.count)
            default:
                break
            }
            check(queue, model)
        }
        queue.removeAll(into: pool)
        #expect(queue.isEmpty && queue.front.isEmpty && pool.takenCount == 0)
        var returned: [UInt16] = []
        pool.takeReturned { returned.append($0) }
        #expect(returned.sorted() == lent.buffers.keys.sorted() && !pool.hasReturned)
    }

    /// Receive buffers that are in the queue, or were: each comes back once.
    private final class Lent {
        var buffers: [UInt16: UnsafeMutableRawBufferPointer] = [:]

        deinit { for buffer in buffers.values { buffer.deallocate() } }
    }

    private let lent = Lent()

    private func lend(_ count: Int, _ step: Int) -> (Chunk, [UInt8]) {
        let bytes = pattern(count, seed: UInt64(step))
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 16)
        buffer.copyBytes(from: bytes)
        lent.buffers[UInt16(step)] = buffer
        return (pool.take(lent: UInt16(step), UnsafeRawBufferPointer(buffer)), bytes)
    }

    private static let sizes = [0, 1, 2, 500, Chunk.capacity - 1, Chunk.capacity, Chunk.capacity + 1, 50_000]

    private func check(_ queue: ByteQueue, _ model: [UInt8]) {
        #expect(queue.count == model.count && queue.isEmpty == model.isEmpty)
        #expect(queue.isContiguous == (queue.front.count == queue.count))
        let gathered = Self.gather(queue)
        #expect(gathered == Array(model.prefix(gathered.count)))
        #expect(gathered.count == model.count || Self.entries(queue) == ByteQueue.gatherMax)
    }

    private static func gather(_ queue: ByteQueue) -> [UInt8] {
        withUnsafeTemporaryAllocation(of: iovec.self, capacity: ByteQueue.gatherMax) { vector in
            let (entries, bytes) = queue.gather(into: vector.baseAddress!)
            var all: [UInt8] = []
            for part in vector[..<entries] {
                all += UnsafeRawBufferPointer(start: part.iov_base, count: part.iov_len)
            }
            #expect(all.count == bytes)
            return all
        }
    }

    private static func entries(_ queue: ByteQueue) -> Int {
        withUnsafeTemporaryAllocation(of: iovec.self, capacity: ByteQueue.gatherMax) {
            queue.gather(into: $0.baseAddress!).entries
        }
    }

    @Test("bytes that are copied fill each chunk before the next is taken")
    func fullChunks() {
        var queue = ByteQueue()
        var count = 0
        for size in [1, Chunk.capacity - 1, 1, 50_000, 3 * Chunk.capacity, 7] {
            pattern(size).withUnsafeBytes { queue.append($0, from: pool) }
            count += size
            #expect(pool.takenCount == (count + Chunk.capacity - 1) / Chunk.capacity)
        }
        queue.removeAll(into: pool)
        #expect(pool.takenCount == 0)
    }

    @Test("what is appended behind bytes in the kernel's hands does not move them")
    func stableFront() {
        var queue = ByteQueue()
        [1, 2, 3].withUnsafeBytes { queue.append($0, from: pool) }
        let before = queue.front
        pattern(100_000).withUnsafeBytes { queue.append($0, from: pool) }
        #expect(queue.front.baseAddress == before.baseAddress)
        #expect(Array(queue.front.prefix(before.count)) == Array(before))
        queue.removeAll(into: pool)
    }

    @Test("the pool keeps a bounded number of chunks and hands them out again")
    func poolIsBounded() {
        #expect(MemoryLayout<Chunk.Header>.size <= Chunk.headerSize && Chunk.capacity == 16 * 1024 - 48)
        let chunks = (0..<ChunkPool.spareMax * 2).map { _ in pool.take() }
        #expect(Set(chunks).count == chunks.count && pool.takenCount == chunks.count)
        for chunk in chunks {
            memset(chunk.header.pointee.base, 0xaa, Chunk.capacity)
            pool.give(chunk)
        }
        #expect(pool.takenCount == 0)
        let again = pool.take()
        #expect(chunks.contains(again))
        #expect(again.count == 0 && again.room == Chunk.capacity && again.header.pointee.next == nil)
        pool.give(again)
    }
}
