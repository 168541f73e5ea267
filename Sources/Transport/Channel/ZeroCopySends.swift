import Glibc

/// The memory of a connection's sends without copying: message, and references to what it gathers. Each of four slots
/// is taken from its submission until the kernel has let go of the bytes, which need not be in order.
final class ZeroCopySends {
    private struct Slot {
        var memory = GatherMemory()
        var chunks = InlineArray<8, Chunk?>(repeating: nil)
        var uncopied: UncopiedBytes?
        var isTaken = false
    }

    private static let slotCount = 4
    private let slots: UnsafeMutablePointer<Slot>

    init() {
        slots = .allocate(capacity: Self.slotCount)
        slots.initialize(repeating: Slot(), count: Self.slotCount)
    }

    deinit {
        for index in 0..<Self.slotCount { assert(!slots[index].isTaken, "memory freed that the kernel reads") }
        slots.deinitialize(count: Self.slotCount)
        slots.deallocate()
    }

    /// A slot that is free, or nil while all wait for the kernel.
    var freeSlot: Int? { (0..<Self.slotCount).first { !slots[$0].isTaken } }

    /// Takes the slot for at most `limit` bytes at the front of the queue.
    func fill(_ index: Int, from queue: borrowing WriteQueue, limit: Int) -> UnsafePointer<msghdr> {
        take(index)
        let memory = memory(index)
        let entries = queue.gather(into: GatherMemory.vector(of: memory), limit: limit)
        queue.hold(entries, in: &slots[index].chunks)
        return GatherMemory.message(in: memory, entries: entries)
    }

    /// Bytes of one send at most: its result is a 32-bit number.
    static let sendMax = 1 << 30

    /// Takes the slot for what is left of `uncopied` behind the first `sent` bytes, up to ``sendMax`` of it.
    func fill(_ index: Int, from uncopied: UncopiedBytes, sent: Int) -> UnsafePointer<msghdr> {
        take(index)
        let memory = memory(index)
        let rest = UnsafeRawBufferPointer(rebasing: uncopied.bytes[sent...])
        let base = UnsafeMutableRawPointer(mutating: rest.baseAddress)
        GatherMemory.vector(of: memory)[0] = iovec(iov_base: base, iov_len: min(rest.count, Self.sendMax))
        slots[index].uncopied = uncopied
        return GatherMemory.message(in: memory, entries: 1)
    }

    private func take(_ index: Int) {
        precondition(!slots[index].isTaken, "a slot is used by one send at a time")
        slots[index].isTaken = true
    }

    private func memory(_ index: Int) -> UnsafeMutablePointer<GatherMemory> {
        let offset = MemoryLayout<Slot>.offset(of: \.memory)!
        return (UnsafeMutableRawPointer(slots + index) + offset).assumingMemoryBound(to: GatherMemory.self)
    }

    /// The kernel has let go of the slot's bytes.
    ///
    /// - Returns: the memory it referred to, if it was not chunks. To drop it is the caller's: its owner may be told by it.
    func free(_ index: Int, into pool: ChunkPool) -> UncopiedBytes? {
        precondition(slots[index].isTaken, "the kernel lets go once")
        for entry in slots[index].chunks.indices {
            guard let chunk = slots[index].chunks[entry] else { break }
            pool.give(chunk)
            slots[index].chunks[entry] = nil
        }
        defer { slots[index].uncopied = nil }
        slots[index].isTaken = false
        return slots[index].uncopied
    }
}

extension OperationKind {
    /// The kind under which the slot's send is submitted.
    static func zeroCopySend(_ slot: Int) -> OperationKind {
        OperationKind(rawValue: OperationKind.zeroCopySend0.rawValue + UInt8(slot))!
    }

    /// The slot of a send without copying; negative or too large for other kinds.
    var zeroCopySlot: Int { Int(rawValue) - Int(OperationKind.zeroCopySend0.rawValue) }
}
