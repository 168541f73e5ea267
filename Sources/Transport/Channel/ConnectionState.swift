import Glibc

/// What changes in a connection, kept behind a pointer so that the hot path makes no exclusivity check.
struct ConnectionState {
    enum InputEnd {
        case notSeen
        /// FIN has come, as a poll has told; nobody has read up to it.
        case unread
        /// A receive has met FIN; bytes before it are parked, or reading is paused.
        case pending
        /// The service knows.
        case told
    }

    var read = ReadState()
    var queue = ByteQueue()
    var parked = ByteQueue()
    var output = OutputState.open
    var inputEnd = InputEnd.notSeen
    var closeReason = CloseReason.closed
    var bytesReceived: UInt64 = 0
    var bytesSent: UInt64 = 0
    var gather: UnsafeMutablePointer<GatherMemory>?
    var sendInFlight = false
    var isWritable = true
    var isDirty = false
    /// The cancellation in flight was submitted after the receive in flight, and so is aimed at it.
    var cancelIsCurrent = false
    /// `inputEnding()` has been called.
    var endingTold = false
    /// Messages that had lost descriptors.
    var messagesTruncated: UInt64 = 0
    /// The connection leaves this loop with its socket open: whom to give it to.
    var detachment: ((consuming DetachedConnection) -> Void)?

    /// Describes the front of the queue in memory that lives as long as the connection, as the kernel needs it
    /// until the send completes.
    mutating func gatherMessage() -> UnsafePointer<msghdr> {
        let memory: UnsafeMutablePointer<GatherMemory>
        if let gather {
            memory = gather
        } else {
            memory = .allocate(capacity: 1)
            memory.initialize(to: GatherMemory())
            gather = memory
        }
        return UnsafeRawPointer(memory).assumingMemoryBound(to: msghdr.self).fill(memory, from: queue)
    }
}

/// A message header and the vector it points to, in one allocation.
struct GatherMemory {
    var header = msghdr()
    var vector = InlineArray<8, iovec>(repeating: iovec())
}

extension UnsafePointer<msghdr> {
    fileprivate func fill(_ memory: UnsafeMutablePointer<GatherMemory>, from queue: ByteQueue) -> UnsafePointer<msghdr>
    {
        assert(ByteQueue.gatherMax == 8)
        let offset = MemoryLayout<GatherMemory>.offset(of: \.vector)!
        let vector = (UnsafeMutableRawPointer(memory) + offset).assumingMemoryBound(to: iovec.self)
        let entries = queue.gather(into: vector).entries
        memory.pointee.header.msg_iov = vector
        memory.pointee.header.msg_iovlen = entries
        return self
    }
}
