import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Task queue")
struct TaskQueueTests {
    @Test("random appending and taking agree with a list", arguments: UInt64(1)...4)
    func model(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        var queue = TaskQueue<Int>(countMax: 5000)
        var model: [Int] = []
        for value in 0..<60_000 {
            // Fills up first, is emptied later, and is walked through in between.
            let appended = (value / 10_000).isMultiple(of: 2) ? 990 : 100
            if Int.random(in: 0..<1000, using: &generator) < appended {
                let isTaken = queue.append(value)
                #expect(isTaken == (model.count < 5000))
                if isTaken { model.append(value) }
            } else {
                let number = Int.random(in: 0...130, using: &generator)
                let expected = Array(model.prefix(number))
                #expect(queue.take(number) == expected)
                model.removeFirst(expected.count)
            }
            #expect(queue.count == model.count)
        }
        #expect(queue.take(.max / 2) == model)
    }

    @Test("a task that was taken is let go of by the queue at once")
    func release() {
        final class Token {}
        var queue = TaskQueue<Token>(countMax: 8)
        weak var first: Token?
        do {
            let token = Token()
            first = token
            #expect(queue.append(token) && queue.append(Token()))
        }
        #expect(first != nil)
        _ = queue.take(1)
        #expect(first == nil && queue.count == 1)
    }
}
