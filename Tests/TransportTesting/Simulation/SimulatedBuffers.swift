@testable import Transport

/// The receive buffers that the simulated kernel has, used in the order in which they were given.
struct SimulatedBuffers {
    let all: ReceiveBuffers
    let isIncremental: Bool
    private var free: [(id: UInt16, size: Int)] = []
    private var isFree: [Bool]
    /// How far the first is used.
    private var offset = 0
    private(set) var sizesGiven: Set<Int> = []

    init(count: Int, size: Int, isIncremental: Bool) {
        let memory = UnsafeMutableRawPointer.allocate(byteCount: count * size, alignment: 16)
        all = ReceiveBuffers(base: memory, count: count, size: size)
        isFree = Array(repeating: false, count: count)
        self.isIncremental = isIncremental
    }

    func deallocate() { all.base.deallocate() }

    var freeCount: Int { free.count }

    /// Returns whether the kernel did not have it yet.
    mutating func give(_ id: UInt16, size: Int) -> Bool {
        guard !isFree[Int(id)] else { return false }
        isFree[Int(id)] = true
        sizesGiven.insert(size)
        free.append((id, size))
        return true
    }

    /// Bytes that the next completion may bring; 0 without a buffer.
    var room: Int { free.first.map { $0.size - offset } ?? 0 }

    /// Takes `count` bytes, `room` at most. Incremental buffers go on unless they are full or retired.
    mutating func take(
        _ count: Int, retired: Bool
    ) -> (id: UInt16, memory: UnsafeMutableRawBufferPointer, goesOn: Bool) {
        let (id, size) = free[0]
        let start = all.base + Int(id) * all.size + offset
        offset += count
        let goesOn = isIncremental && offset < size && !retired
        if !goesOn {
            free.removeFirst()
            isFree[Int(id)] = false
            offset = 0
        }
        return (id, UnsafeMutableRawBufferPointer(start: start, count: count), goesOn)
    }
}
