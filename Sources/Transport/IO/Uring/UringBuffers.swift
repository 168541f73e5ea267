import CRing

/// The receive buffers of one ring: one memory, registered as one group of buffers, or two.
///
/// A message must lie in one buffer, so it needs a whole one: the rest of one that streams share (incremental), or a
/// small size that was learned from streams, would cut it off, and less than its header fails it (EFAULT, liburing
/// issue 1433). Then messages have a group of their own, of whole buffers. The numbers of the buffers tell the two
/// groups apart: the first are for messages.
struct UringBuffers {
    let memory: ReceiveBuffers
    private let owned: ReceiveBufferMemory
    private let streams: OpaquePointer
    private let messages: OpaquePointer?

    /// Receives of streams, and of messages if those have no group of their own.
    static let streamGroup: UInt16 = 1
    private static let ownMessageGroup: UInt16 = 2
    /// Buffers of the messages' own group.
    private static let messageCount: UInt32 = 64

    /// The group that messages are received into.
    var messageGroup: UInt16 { messages == nil ? Self.streamGroup : Self.ownMessageGroup }

    /// Registers the groups, empty.
    init(_ ring: OpaquePointer, _ configuration: ReceiveBufferConfiguration) throws(SystemError) {
        let isIncremental = configuration.isIncremental
        let messageCount = isIncremental || configuration.sizeMin != nil ? Self.messageCount : 0
        let count = messageCount + configuration.countBound
        owned = try ReceiveBufferMemory(count: Int(count), size: Int(configuration.size))
        memory = ReceiveBuffers(
            base: owned.base, count: Int(count), size: Int(configuration.size), messageCount: Int(messageCount))
        do throws(SystemError) {
            streams = try Self.register(
                ring, Self.streamGroup, configuration.countBound, isIncremental: isIncremental, memory)
        } catch {
            owned.deallocate()
            throw error
        }
        guard messageCount > 0 else {
            messages = nil
            return
        }
        do throws(SystemError) {
            messages = try Self.register(ring, Self.ownMessageGroup, messageCount, isIncremental: false, memory)
        } catch {
            cring_buffers_destroy(ring, streams)
            owned.deallocate()
            throw error
        }
    }

    private static func register(
        _ ring: OpaquePointer, _ group: UInt16, _ count: UInt32, isIncremental: Bool, _ memory: ReceiveBuffers
    ) throws(SystemError) -> OpaquePointer {
        var made: OpaquePointer?
        let entries = count.roundedUpToPowerOfTwo
        let result = cring_buffers_create(
            ring, group, entries, isIncremental ? 1 : 0, memory.base, UInt32(memory.size), &made)
        guard result == 0, let made else { throw SystemError("io_uring_register(PBUF_RING)", code: result) }
        return made
    }

    /// Gives buffers to the kernel, `size` bytes of each, and whole ones for messages.
    func give(_ ids: UnsafeBufferPointer<UInt16>, size: Int) {
        guard let messages else { return Self.give(ids[...], to: streams, size: size) }
        var rest = ids[...]
        // The two kinds in turn: each stretch of one kind is published at once.
        while let first = rest.first {
            let isMessage = Int(first) < memory.messageCount
            let end = rest.firstIndex { (Int($0) < memory.messageCount) != isMessage } ?? rest.endIndex
            Self.give(rest[..<end], to: isMessage ? messages : streams, size: isMessage ? memory.size : size)
            rest = rest[end...]
        }
    }

    private static func give(_ ids: Slice<UnsafeBufferPointer<UInt16>>, to group: OpaquePointer, size: Int) {
        let ids = UnsafeBufferPointer(rebasing: ids)
        cring_buffers_give(group, ids.baseAddress, UInt32(ids.count), UInt32(size))
    }

    /// Nothing may be in flight that could still write to a buffer.
    func destroy(_ ring: OpaquePointer) {
        if let messages { cring_buffers_destroy(ring, messages) }
        cring_buffers_destroy(ring, streams)
        owned.deallocate()
    }
}

extension UInt32 {
    fileprivate var roundedUpToPowerOfTwo: UInt32 {
        self <= 1 ? 1 : 1 << (UInt32(bitWidth) - UInt32((self - 1).leadingZeroBitCount))
    }
}
