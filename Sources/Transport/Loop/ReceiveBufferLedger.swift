/// A loop's account of its receive buffers: how many it has given to the handler, how far each has been used, and how
/// many it holds itself. No completion can name a buffer that the handler does not have. Loop thread only.
///
/// Behind a pointer and without reference counts: the bytes of a completion are dealt with before the next completion,
/// so a buffer needs no more than the place where the next bytes begin.
struct ReceiveBufferLedger: ~Copyable {
    private struct Buffer {
        /// Where the next bytes begin, or `held`.
        var offset: UInt32
        /// Bytes that the handler may use.
        var length: UInt32
    }

    private static let held = UInt32.max
    private static let lent = UInt32.max - 1

    private let memory: ReceiveBuffers
    private let buffers: UnsafeMutablePointer<Buffer>
    /// Buffers that have been brought into use, held ones included; the first of those there is memory for.
    private(set) var count: Int
    /// Of those, the ones that the loop holds.
    private(set) var heldCount: Int
    /// Of those, the ones whose bytes wait in a queue to be sent.
    private(set) var lentCount = 0
    /// A buffer that several receives fill is nobody's alone.
    private let mayLend: Bool
    private var size: AdaptiveSize

    /// All buffers are held.
    init(_ memory: ReceiveBuffers, _ configuration: ReceiveBufferConfiguration) {
        self.memory = memory
        buffers = .allocate(capacity: max(memory.count, 1))
        buffers.initialize(repeating: Buffer(offset: Self.held, length: 0), count: memory.count)
        count = min(memory.messageCount + Int(configuration.count), memory.count)
        heldCount = count
        mayLend = !configuration.isIncremental
        let sizeMax = UInt32(memory.size)
        size = AdaptiveSize(min: min(configuration.sizeMin ?? sizeMax, sizeMax), max: sizeMax)
    }

    deinit { buffers.deallocate() }

    /// Buffers in use that are not kept for messages.
    private var streamCount: Int { count - memory.messageCount }

    /// Buffers for streams that the handler has when the loop holds none.
    var unlentCount: Int { streamCount - lentCount }

    /// How many there may ever be.
    var countMax: Int { memory.count }

    /// Bytes of a whole buffer.
    var sizeMax: Int { memory.size }

    /// Bytes of each buffer that the handler may use from now on.
    var sizeGiven: Int { Int(size.current) }

    /// The next `length` bytes of a buffer, valid until they are consumed.
    @inline(__always)
    func bytes(_ id: UInt16, length: Int) -> UnsafeRawBufferPointer {
        precondition(Int(id) < count, "a completion names a receive buffer that does not exist")
        let offset = buffers[Int(id)].offset
        precondition(offset < Self.lent, "a completion names a receive buffer that the handler does not have")
        precondition(Int(offset) + length <= memory.size, "a completion names bytes outside its receive buffer")
        return UnsafeRawBufferPointer(start: memory.base + Int(id) * memory.size + Int(offset), count: length)
    }

    /// The completion's bytes have been dealt with: the buffer's next ones follow, or (`hasMore` false) it is used up.
    /// Returns whether it is used up, and so is held from now on.
    @inline(__always)
    mutating func consume(_ id: UInt16, length: Int, hasMore: Bool) -> Bool {
        // Also of bytes that nobody looked at, such as those of a connection that is closing.
        precondition(
            Int(id) < count && buffers[Int(id)].offset < Self.lent,
            "a completion names a receive buffer that the handler does not have")
        assert(bytes(id, length: length).count == length)
        if hasMore {
            buffers[Int(id)].offset += UInt32(length)
            return false
        }
        size.record(UInt32(length), of: buffers[Int(id)].length)
        buffers[Int(id)].offset = Self.held
        heldCount += 1
        return true
    }

    /// Keeps the buffer out of the handler's reach while its bytes wait to be sent: until ``takeBack(_:)``. Instead of
    /// ``consume(_:length:hasMore:)``; the buffer must be used up.
    ///
    /// Half of the streams' buffers at most, so that peers who do not read cannot end all receiving.
    ///
    /// - Returns: false when there may be no more.
    mutating func lend(_ id: UInt16, length: Int) -> Bool {
        assert(bytes(id, length: length).count == length)
        guard mayLend, lentCount < streamCount / 2, Int(id) >= memory.messageCount else { return false }
        size.record(UInt32(length), of: buffers[Int(id)].length)
        buffers[Int(id)].offset = Self.lent
        lentCount += 1
        return true
    }

    /// The bytes have been sent or dropped: the buffer is held from now on.
    mutating func takeBack(_ id: UInt16) {
        precondition(Int(id) < count && buffers[Int(id)].offset == Self.lent, "a buffer comes back that was not lent")
        buffers[Int(id)].offset = Self.held
        lentCount -= 1
        heldCount += 1
    }

    /// The handler is given these, with ``sizeGiven`` bytes of each.
    mutating func give(_ ids: UnsafeBufferPointer<UInt16>) {
        for id in ids {
            assert(Int(id) < count && buffers[Int(id)].offset == Self.held, "a buffer is given once")
            buffers[Int(id)] = Buffer(offset: 0, length: size.current)
        }
        heldCount -= ids.count
        assert(heldCount >= 0)
    }

    /// Doubles the number of buffers, as far as there is memory. Returns the new ones, which are held.
    mutating func grow() -> Range<UInt16> {
        let old = count
        count = min(memory.messageCount + (old - memory.messageCount) * 2, memory.count)
        heldCount += count - old
        return UInt16(old)..<UInt16(count)
    }
}
