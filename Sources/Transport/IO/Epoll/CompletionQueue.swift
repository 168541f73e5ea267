/// Completions on their way to the loop, first in, first out. Grows as needed; allocates nothing once warm.
struct CompletionQueue: ~Copyable {
    private var base: UnsafeMutablePointer<Completion>
    private var capacity: Int
    private var head = 0
    private var tail = 0

    init(capacity: Int) {
        precondition(capacity > 0)
        self.capacity = capacity
        base = .allocate(capacity: capacity)
    }

    deinit {
        base.deallocate()
    }

    var isEmpty: Bool { head == tail }
    var count: Int { tail - head }

    @inline(__always)
    mutating func append(_ completion: Completion) {
        if tail == capacity { makeRoom() }
        (base + tail).initialize(to: completion)
        tail += 1
    }

    /// Moves the oldest completions to `batch`, as many as it holds, and returns their number.
    mutating func take(into batch: UnsafeMutableBufferPointer<Completion>) -> Int {
        let number = min(count, batch.count)
        guard number > 0, let target = batch.baseAddress else { return 0 }
        target.update(from: base + head, count: number)
        head += number
        if head == tail { (head, tail) = (0, 0) }
        return number
    }

    /// Moves what is left to the front, of larger memory if it takes more than half of this.
    private mutating func makeRoom() {
        let kept = count
        if kept > capacity / 2 {
            let larger = UnsafeMutablePointer<Completion>.allocate(capacity: capacity * 2)
            larger.moveInitialize(from: base + head, count: kept)
            base.deallocate()
            base = larger
            capacity *= 2
        } else {
            base.update(from: base + head, count: kept)
        }
        (head, tail) = (0, kept)
    }
}
