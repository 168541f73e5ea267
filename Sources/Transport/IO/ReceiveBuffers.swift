/// How much memory a loop has to receive into.
public struct ReceiveBufferConfiguration: Sendable {
    /// Buffers, a power of two up to 32,768.
    public var count: UInt32 = 256
    /// Bytes of each buffer.
    public var size: UInt32 = 16 * 1024

    /// The defaults: 256 buffers of 16 KiB.
    public init() {}

    /// For a loop that receives nothing, such as one that only accepts.
    public static var none: ReceiveBufferConfiguration {
        var configuration = ReceiveBufferConfiguration()
        configuration.count = 1
        configuration.size = 64
        return configuration
    }
}

/// The memory of a loop's receive buffers: `count` buffers of `size` bytes each, one after the other.
public struct ReceiveBuffers {
    /// Buffer 0.
    public let base: UnsafeMutableRawPointer
    /// A power of two, at most 32,768.
    public let count: Int
    /// Bytes of one buffer.
    public let size: Int

    /// Describes buffers that a handler owns.
    public init(base: UnsafeMutableRawPointer, count: Int, size: Int) {
        self.base = base
        self.count = count
        self.size = size
    }

    /// The first `length` bytes of a buffer, valid until it is returned.
    @inline(__always)
    func bytes(_ id: UInt16, length: Int) -> UnsafeRawBufferPointer {
        precondition(Int(id) < count && length <= size, "a completion names bytes outside the receive buffers")
        return UnsafeRawBufferPointer(start: base + Int(id) * size, count: length)
    }
}
