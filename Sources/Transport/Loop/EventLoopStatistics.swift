/// What a loop has counted since it was made.
public struct EventLoopStatistics: Sendable {
    /// Times round the loop.
    public var turns: UInt64 = 0
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
    /// Nanoseconds spent outside the wait.
    public var busyNanoseconds: UInt64 = 0

    /// All zero.
    public init() {}
}
