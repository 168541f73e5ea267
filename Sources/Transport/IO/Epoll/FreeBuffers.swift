import Glibc

/// Receive buffers and those of them that are free: the one returned last is used first, since the cache still has it.
struct FreeBuffers: ~Copyable {
    let memory: ReceiveBuffers
    private let ids: UnsafeMutablePointer<UInt16>
    private(set) var count: Int

    private static let pageSize = 4096

    /// - Throws: EINVAL when the number is no power of two up to 32,768, or the size is 0, as the ring does.
    init(_ configuration: ReceiveBufferConfiguration) throws(SystemError) {
        let number = Int(configuration.count)
        let size = Int(configuration.size)
        guard number > 0, number & (number - 1) == 0, number <= 32_768, size > 0 else {
            throw SystemError("receive buffers", code: EINVAL)
        }
        let base = UnsafeMutableRawPointer.allocate(byteCount: number * size, alignment: Self.pageSize)
        memory = ReceiveBuffers(base: base, count: number, size: size)
        ids = .allocate(capacity: number)
        for index in 0..<number { (ids + index).initialize(to: UInt16(number - 1 - index)) }
        count = number
    }

    deinit {
        ids.deallocate()
        memory.base.deallocate()
    }

    /// A free buffer, or nil.
    @inline(__always)
    mutating func take() -> UInt16? {
        if count == 0 { return nil }
        count -= 1
        return ids[count]
    }

    /// Takes a buffer back that is not free.
    @inline(__always)
    mutating func give(_ id: UInt16) {
        precondition(count < memory.count && Int(id) < memory.count, "a buffer was returned that was not out")
        ids[count] = id
        count += 1
    }

    /// Where the bytes of a buffer are.
    @inline(__always)
    func bytes(_ id: UInt16) -> UnsafeMutableRawPointer { memory.base + Int(id) * memory.size }
}
