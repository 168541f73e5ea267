import Glibc

/// One request to the kernel. Memory it points to belongs to the operation until its terminal completion.
public enum Operation: BitwiseCopyable {
    /// Accept connections until cancelled or failed; each completion's result is a descriptor (blocking mode, close-on-exec).
    case accept(fd: Int32)
    /// Receive into one of the loop's buffers. Multishot goes on until end of file, failure, exhaustion (`ENOBUFS`)
    /// or cancellation.
    case receive(fd: Int32, multishot: Bool)
    /// Receive datagrams until cancelled or failed, each into one of the loop's buffers: laid out as ``ReceivedMessage``
    /// says. `message` tells how much room the name and the control data get; nothing else of it is read.
    case receiveMessages(fd: Int32, message: UnsafePointer<msghdr>)
    /// Send `count` bytes (1 or more). Never waits: a result less than `count` is normal, and so is `EAGAIN` when there is
    /// no room, which is for who submits to await. Raises no SIGPIPE.
    case send(fd: Int32, bytes: UnsafeRawPointer, count: UInt32)
    /// Send what the message gathers, as ``send(fd:bytes:count:)``.
    case sendMessage(fd: Int32, message: UnsafePointer<msghdr>)
    /// As ``sendMessage(fd:message:)`` without copying (TCP only). Its first completion tells the result and, if it
    /// has more, a second one (``Completion/isNotification``) that the kernel has let go of the bytes.
    case sendMessageZeroCopy(fd: Int32, message: UnsafePointer<msghdr>)
    /// Connect; the result is 0 or why not.
    case connect(fd: Int32, address: UnsafePointer<sockaddr>, length: socklen_t)
    /// Wait for poll(2) events; the result is the events. Multishot reports each edge until cancelled.
    case poll(fd: Int32, events: UInt32, multishot: Bool)
    /// Cancel an operation. Both complete, in either order, and the target may still have succeeded.
    case cancel(UserData)
}

/// An operation on its way to the handler.
public struct Submission: BitwiseCopyable {
    /// Comes back with every completion.
    public var userData: UserData
    /// What to do.
    public var operation: Operation

    /// Pairs an operation with its name.
    public init(userData: UserData, operation: Operation) {
        self.userData = userData
        self.operation = operation
    }
}

/// What came of an operation: the kernel's CQE, in its layout (`struct cring_completion`).
@frozen
public struct Completion: BitwiseCopyable {
    /// As submitted.
    public var userData: UserData
    /// 0 or more, or a negative errno.
    public var result: Int32
    /// Flag bits, and the buffer id in the upper 16.
    public var flags: UInt32

    /// A completion as a handler makes it.
    public init(userData: UserData, result: Int32, flags: UInt32) {
        self.userData = userData
        self.result = result
        self.flags = flags
    }

    static var bufferFlag: UInt32 { 1 << 0 }
    static var moreFlag: UInt32 { 1 << 1 }
    static var notificationFlag: UInt32 { 1 << 3 }
    /// Where the buffer id begins.
    static var bufferShift: UInt32 { 16 }

    /// More completions of the same operation follow. Without it this is the terminal one, whatever the result.
    public var hasMore: Bool { flags & Self.moreFlag != 0 }

    /// The kernel has let go of the memory of a send without copying; the result means nothing.
    public var isNotification: Bool { flags & Self.notificationFlag != 0 }

    /// More bytes, or FIN, were behind these: the same receive goes on with them unasked. Told by a ring only.
    public var socketHasMore: Bool { flags & (1 << 2) != 0 }

    /// The receive buffer is not used up: the next completions that name it follow these bytes (incremental buffer ring).
    public var bufferHasMore: Bool { flags & (1 << 4) != 0 }

    /// The receive buffer that holds the data, or nil when none was used.
    public var buffer: UInt16? {
        flags & Self.bufferFlag != 0 ? UInt16(truncatingIfNeeded: flags >> Self.bufferShift) : nil
    }
}
