import Glibc

/// How much memory a loop has to receive into, and how it is shared out.
public struct ReceiveBufferConfiguration: Sendable {
    /// Buffers to begin with, 1 to 32,768. Received bytes that are written on, 2 KiB or more of them, are sent from the
    /// buffer they lie in: up to half of the buffers may so be out until their bytes have been sent.
    public var count: UInt32 = 256
    /// How many there may be at most, ``count`` to 32,768: each time receives end for want of a buffer, the number
    /// doubles up to this. nil: as many as at first. A buffer takes no memory until bytes have been put into it.
    public var countMax: UInt32?
    /// Bytes of each buffer, at most 16 MiB.
    public var size: UInt32 = 16 * 1024
    /// With this, receives are given as little as so many bytes of a buffer, more after reads that filled what they
    /// were given, and less again after a row of small ones. Both sizes are then powers of two. nil: always ``size``.
    public var sizeMin: UInt32?
    /// Fill each buffer to its end before the next is begun, with the bytes of whichever connections have some, instead
    /// of taking a new one for each receive: less memory touched by many small messages (Linux 6.12). Where the kernel
    /// cannot, and on epoll, buffers are used as without it. Not together with ``sizeMin``.
    public var isIncremental = false

    /// The defaults: 256 buffers of 16 KiB.
    public init() {}

    /// For a loop that receives nothing, such as one that only accepts.
    public static var none: ReceiveBufferConfiguration {
        var configuration = ReceiveBufferConfiguration()
        configuration.count = 1
        configuration.size = 64
        return configuration
    }

    /// The kernel's limit on the entries of a buffer ring.
    static let countLimit: UInt32 = 32_768
    static let sizeLimit: UInt32 = 16 * 1024 * 1024

    /// The bound on growth, told or not.
    var countBound: UInt32 { countMax ?? count }

    /// - Throws: `EINVAL`, naming the value that is out of its range.
    func validate() throws(SystemError) {
        func require(_ isTrue: Bool, _ name: String) throws(SystemError) {
            if !isTrue { throw SystemError("receive buffers: \(name)", code: EINVAL) }
        }
        try require((1...Self.countLimit).contains(count), "count")
        try require((count...Self.countLimit).contains(countBound), "countMax")
        try require((1...Self.sizeLimit).contains(size), "size")
        guard let sizeMin else { return }
        try require(sizeMin <= size && sizeMin.nonzeroBitCount == 1 && size.nonzeroBitCount == 1, "sizeMin")
        try require(!isIncremental, "sizeMin with isIncremental")
    }
}

/// The receive buffers that a handler has room for: pieces of one memory, of one size, one after the other.
public struct ReceiveBuffers {
    /// Buffer 0.
    public let base: UnsafeMutableRawPointer
    /// Buffers there is memory for: the loop may give the handler those numbered from 0 to one less.
    public let count: Int
    /// Bytes of one buffer.
    public let size: Int
    /// The first so many are for ``Operation/receiveMessages(fd:message:)`` only, which needs them whole; the others
    /// are then for all else. 0: any buffer will do for either.
    public let messageCount: Int

    /// Describes memory that the handler owns.
    public init(base: UnsafeMutableRawPointer, count: Int, size: Int, messageCount: Int = 0) {
        self.base = base
        self.count = count
        self.size = size
        self.messageCount = messageCount
    }
}

/// Memory for receive buffers (mmap(2)): reserved whole, and taken from the machine page by page at the first use.
struct ReceiveBufferMemory {
    let base: UnsafeMutableRawPointer
    private let byteCount: Int

    init(count: Int, size: Int) throws(SystemError) {
        byteCount = count * size
        let memory = mmap(
            nil, byteCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        guard let memory, memory != MAP_FAILED else { throw .last("mmap") }
        base = memory
    }

    /// Nobody may still write to it.
    func deallocate() {
        munmap(base, byteCount)
    }
}
