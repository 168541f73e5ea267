/// How a loop is made.
public struct EventLoopConfiguration: Sendable {
    /// How the loop reaches the kernel.
    public var transport = TransportKind.ioUring
    /// Sizes of the ring, where there is one.
    public var uring = UringConfiguration()
    /// How an epoll loop waits.
    public var epoll = EpollConfiguration()
    /// What received bytes are put into.
    public var receiveBuffers = ReceiveBufferConfiguration()
    /// How long ``EventLoop/run()`` waits, once stopped, for the kernel to complete what is in flight.
    public var stopTimeout: Duration = .seconds(5)
    /// Whether the loop sleeps, polls or leaves I/O out, turn by turn.
    public var selectStrategy: any SelectStrategy = BlockWhenIdle()
    /// How many tasks may wait, and how long they may hold up I/O.
    public var tasks = TaskConfiguration()
    /// Called on the loop's thread with what its owner may want to log, once a second per event at most.
    public var report: (@Sendable (EventLoopReport) -> Void)?

    /// The defaults.
    public init() {}
}
