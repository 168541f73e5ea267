/// What a loop has counted since it was made.
public struct EventLoopStatistics: Sendable {
    /// Times round the loop.
    public var turns: UInt64 = 0
    /// Turns in which the loop was ready to sleep until a completion, a timer or a wake-up.
    public var sleeps: UInt64 = 0
    /// Turns before which another thread had asked for the loop's attention.
    public var wakeups: UInt64 = 0
    /// Completions dispatched.
    public var completions: UInt64 = 0
    /// Completions for a registration that had ended: dropped.
    public var staleCompletions: UInt64 = 0
    /// Receives ended for want of a buffer (ENOBUFS), each resumed when buffers came back.
    public var receiveBuffersExhausted: UInt64 = 0
    /// Receive buffers in use now, any kept for messages included.
    public var receiveBufferCount: UInt64 = 0
    /// Receive buffers there may be at most; exhaustion adds some up to here.
    public var receiveBufferCountMax: UInt64 = 0
    /// Bytes passed from one connection to another by splice(2).
    public var splicedBytes: UInt64 = 0
    /// Times that there was no pipe for it: the bytes were copied instead. Where it is denied for good, 1.
    public var splicesRefused: UInt64 = 0
    /// Tasks run that came through ``EventLoopRemote``.
    public var tasks: UInt64 = 0
    /// Nanoseconds spent on I/O: completions, and what channels do at the end of a turn. Not the wait.
    public var ioNanoseconds: UInt64 = 0
    /// Nanoseconds spent in timers, tasks and tail tasks.
    public var taskNanoseconds: UInt64 = 0

    /// Nanoseconds spent outside the wait.
    public var busyNanoseconds: UInt64 { ioNanoseconds &+ taskNanoseconds }

    /// All zero.
    public init() {}
}
