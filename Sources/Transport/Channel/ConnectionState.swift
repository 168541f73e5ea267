import Glibc

/// What changes in a connection, kept behind a pointer so that the hot path makes no exclusivity check.
struct ConnectionState {
    /// What the sending direction waits for: one operation at a time, since two sends may overtake each other.
    enum Sending {
        case idle
        /// The result of a send.
        case plain
        /// The result of a send without copying; its notification is not waited for.
        case zeroCopy
        /// Room in the socket's send buffer.
        case room
        /// The end of an earlier wait for room, which has been cancelled.
        case settling
        /// The loop's next turn: plain calls have sent enough, or everything, in this one.
        case nextTurn
    }

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
    var queue = WriteQueue()
    var parked = ByteQueue()
    var output = OutputState.open
    var inputEnd = InputEnd.notSeen
    var closeReason = CloseReason.closed
    var bytesReceived: UInt64 = 0
    var bytesSent: UInt64 = 0
    /// Of those, the ones that the service has been told of.
    var bytesTold: UInt64 = 0
    var gather: UnsafeMutablePointer<GatherMemory>?
    var sending = Sending.idle
    /// Bytes that are worth sending without copying; `Int.max` when that is switched off or impossible.
    var zeroCopyThreshold = Int.max
    var zeroCopySends: ZeroCopySends?
    var isWritable = true
    var isDirty = false
    /// The cancellation in flight was submitted after the receive in flight, and so is aimed at it.
    var cancelIsCurrent = false
    /// The receive in flight may not tell of an RST that had come before it, until its first wake-up is over.
    var resetMayHide = false
    /// Closing, it sends what the socket has room for.
    var sendsQueued = false
    /// `inputEnding()` has been called.
    var endingTold = false
    /// Messages that had lost descriptors.
    var messagesTruncated: UInt64 = 0
    /// What is received goes to another connection.
    var splice: Splice?
    var bytesSpliced: UInt64 = 0
    /// The connection leaves this loop with its socket open: whom to give it to.
    var detachment: ((consuming DetachedConnection) -> Void)?

    init(_ configuration: ConnectionConfiguration, isUnixDomain: Bool) {
        if let threshold = configuration.zeroCopyThreshold, !isUnixDomain { zeroCopyThreshold = max(threshold, 1) }
    }

    /// Describes at most `limit` bytes at the front of the queue in memory that lives as long as the connection, as
    /// the kernel needs it until the send completes.
    mutating func gatherMessage(limit: Int) -> UnsafePointer<msghdr> {
        let memory: UnsafeMutablePointer<GatherMemory>
        if let gather {
            memory = gather
        } else {
            memory = .allocate(capacity: 1)
            memory.initialize(to: GatherMemory())
            gather = memory
        }
        let entries = queue.gather(into: GatherMemory.vector(of: memory), limit: limit)
        return GatherMemory.message(in: memory, entries: entries)
    }
}
