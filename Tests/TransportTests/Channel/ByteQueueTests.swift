import Glibc
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Byte queue")
struct ByteQueueTests {
    private let pool = ChunkPool()

    @Test("random operations agree with an array of bytes, and all memory is given back", arguments: UInt64(1)...8)
    func model(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        var queue = ByteQueue()
        var model: [UInt8] = []
        for step in 0..<400 {
            switch Int.random(in: 0..<10, using: &generator) {
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
    }

    private static let sizes = [0, 1, 2, 500, Chunk.capacity - 1, Chunk.capacity, Chunk.capacity + 1, 50_000]

    private func check(_ queue: ByteQueue, _ model: [UInt8]) {
        #expect(queue.count == model.count && queue.isEmpty == model.isEmpty)
        #expect(queue.isContiguous == (queue.front.count == queue.count))
        let gathered = Self.gather(queue)
        #expect(gathered == Array(model.prefix(gathered.count)))
        #expect(gathered.count == model.count || gathered.count > (ByteQueue.gatherMax - 2) * Chunk.capacity)
        // Each chunk but the first and the last is full.
        #expect(pool.takenCount <= (model.count + 2 * Chunk.capacity - 1) / Chunk.capacity)
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
        #expect(MemoryLayout<Chunk>.size <= 16 && Chunk.capacity == 16 * 1024 - 16)
        let chunks = (0..<ChunkPool.spareMax * 2).map { _ in pool.take() }
        #expect(Set(chunks).count == chunks.count && pool.takenCount == chunks.count)
        for chunk in chunks {
            memset(Chunk.bytes(of: chunk), 0xaa, Chunk.capacity)
            pool.give(chunk)
        }
        #expect(pool.takenCount == 0)
        let again = pool.take()
        #expect(chunks.contains(again))
        #expect(again.pointee.start == 0 && again.pointee.end == 0 && again.pointee.next == nil)
        pool.give(again)
    }
}
