import Glibc
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Write queue")
struct WriteQueueTests {
    private let owned = OwnedChunkPool()
    private var pool: ChunkPool { owned.pool }

    /// What the queue is to hold, in order.
    private enum Element {
        case bytes([UInt8])
        case uncopied(Int)
        case file(Int)
        case descriptors(Int)
    }

    private struct Model {
        var elements: [Element] = []

        /// Chunk bytes before the first segment.
        var leading: [UInt8] {
            var all: [UInt8] = []
            for element in elements {
                guard case .bytes(let bytes) = element else { break }
                all += bytes
            }
            return all
        }

        var memoryBytes: Int {
            elements.reduce(0) { sum, element in
                switch element {
                case .bytes(let bytes): sum + bytes.count
                case .uncopied(let count): sum + count
                case .file, .descriptors: sum
                }
            }
        }

        var fileBytes: Int {
            elements.reduce(0) { sum, element in if case .file(let count) = element { sum + count } else { sum } }
        }

        mutating func dropLeading(_ number: Int) {
            let left = Array(leading.dropFirst(number))
            elements.removeFirst(elements.prefix { if case .bytes = $0 { true } else { false } }.count)
            if !left.isEmpty { elements.insert(.bytes(left), at: 0) }
        }
    }

    @Test("random writes and sends agree with a model, and all memory is given back", arguments: UInt64(1)...8)
    func model(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        var queue = WriteQueue()
        var model = Model()
        let file = try TestFile([1]).descriptor
        let memory = UnsafeRawBufferPointer(start: UnsafeRawPointer(bitPattern: 0x1000), count: 10_000)
        var released = 0
        var written = 0
        for step in 0..<600 {
            switch Int.random(in: 0..<10, using: &generator) {
            case ..<3:
                let bytes = pattern([1, 500, 16_368, 40_000].randomElement(using: &generator)!, seed: UInt64(step))
                bytes.withUnsafeBytes { queue.append($0, from: pool) }
                model.elements.append(.bytes(bytes))
            case 3:
                let count = Int.random(in: 1...10_000, using: &generator)
                let part = UnsafeRawBufferPointer(rebasing: memory[..<count])
                queue.append(.uncopied(UncopiedBytes(part) { released += 1 }))
                model.elements.append(.uncopied(count))
                written += 1
            case 4:
                let count = Int.random(in: 1...10_000, using: &generator)
                queue.append(.file(try FileRegion(file, count: count)))
                model.elements.append(.file(count))
            case 5:
                queue.append(.descriptors([file], byteCount: step))
                model.elements.append(.descriptors(step))
            default:
                send(&queue, &model, &generator)
            }
            check(queue, model)
        }
        #expect(written > 10)
        let dropped = queue.removeAll(into: pool)
        #expect(queue.isEmpty && queue.count == 0 && queue.fileBytes == 0 && queue.segmentCount == 0)
        #expect(queue.sendableCount == 0 && !queue.isAtSegment && queue.firstSegment == nil)
        withExtendedLifetime(dropped) {}
        _ = consume dropped
        #expect(pool.takenCount == 0 && released == written)
    }

    /// Sends some of what comes next in the model.
    private func send(_ queue: inout WriteQueue, _ model: inout Model, _ generator: inout SeededGenerator) {
        switch model.elements.first {
        case nil:
            #expect(queue.isEmpty)
        case .bytes:
            let number = Int.random(in: 1...model.leading.count, using: &generator)
            queue.consume(number, into: pool)
            model.dropLeading(number)
        case .descriptors(let byteCount):
            guard case .descriptors(_, byteCount: byteCount)? = queue.consumeSegment(0) else {
                Issue.record("no descriptors at the front")
                return
            }
            model.elements.removeFirst()
        case .uncopied(let left):
            let number = Int.random(in: 1...left, using: &generator)
            let ended = queue.consumeSegment(number) != nil
            #expect(ended == (number == left))
            model.elements[0] = .uncopied(left - number)
            if ended { model.elements.removeFirst() }
        case .file(let left):
            let number = Int.random(in: 1...left, using: &generator)
            let ended = queue.consumeSegment(number) != nil
            #expect(ended == (number == left))
            model.elements[0] = .file(left - number)
            if ended { model.elements.removeFirst() }
        }
    }

    private func check(_ queue: WriteQueue, _ model: Model) {
        let leading = model.leading
        #expect(queue.sendableCount == leading.count && queue.isEmpty == model.elements.isEmpty)
        #expect(queue.count == model.memoryBytes && queue.fileBytes == model.fileBytes)
        #expect(queue.isAtSegment == (leading.isEmpty && !model.elements.isEmpty))
        #expect((queue.firstSegment != nil) == queue.isAtSegment)
        guard !leading.isEmpty else { return }
        let gathered = withUnsafeTemporaryAllocation(of: iovec.self, capacity: ByteQueue.gatherMax) { vector in
            vector[..<queue.gather(into: vector.baseAddress!, limit: leading.count)].flatMap { part in
                Array(UnsafeRawBufferPointer(start: part.iov_base, count: part.iov_len))
            }
        }
        let isPrefix = gathered == Array(leading.prefix(gathered.count))
        #expect(isPrefix && !gathered.isEmpty, "bytes behind a segment are sent before it")
    }
}
