import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Completion queue")
struct CompletionQueueTests {
    @Test("completions come out once, in order, whatever the batches", arguments: 1...20)
    func order(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        var queue = CompletionQueue(capacity: Int.random(in: 1...4, using: &generator))
        let batch = UnsafeMutableBufferPointer<Completion>.allocate(capacity: 7)
        defer { batch.deallocate() }
        var (put, got) = (Int32(0), Int32(0))
        for _ in 0..<2000 {
            for _ in 0..<Int.random(in: 0...5, using: &generator) {
                queue.append(Completion(userData: UserData(.send, .handler), result: put, flags: 0))
                put += 1
            }
            let part = UnsafeMutableBufferPointer(rebasing: batch[..<Int.random(in: 0...7, using: &generator)])
            for completion in batch[..<queue.take(into: part)] {
                #expect(completion.result == got)
                got += 1
            }
            #expect(queue.count == Int(put - got) && queue.isEmpty == (put == got))
        }
    }
}
