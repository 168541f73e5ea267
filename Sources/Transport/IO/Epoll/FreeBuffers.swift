import Glibc

/// Receive buffers and those of them that are free: the one returned last is used first, since the cache still has it.
struct FreeBuffers: ~Copyable {
    let memory: ReceiveBuffers
    /// Bytes of a buffer that a receive may fill; a message may fill it all.
    var size: Int
    /// Buffers that one registration may take in a run, so that there are some for the others.
    let shareMax: Int
    private let owned: ReceiveBufferMemory
    private let ids: UnsafeMutablePointer<UInt16>
    private(set) var count: Int

    /// None is free until the loop has given some.
    ///
    /// - Throws: EINVAL for a configuration that no handler takes; ENOMEM.
    init(_ configuration: ReceiveBufferConfiguration) throws(SystemError) {
        try configuration.validate()
        let number = Int(configuration.countBound)
        let size = Int(configuration.size)
        let owned = try ReceiveBufferMemory(count: number, size: size)
        memory = ReceiveBuffers(base: owned.base, count: number, size: size)
        shareMax = max(1, Int(configuration.count) / 4)
        ids = .allocate(capacity: number)
        self.size = size
        self.owned = owned
        count = 0
    }

    deinit {
        ids.deallocate()
        owned.deallocate()
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
        (ids + count).initialize(to: id)
        count += 1
    }

    /// Where the bytes of a buffer are.
    @inline(__always)
    func bytes(_ id: UInt16) -> UnsafeMutableRawPointer { memory.base + Int(id) * memory.size }
}
