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
    /// Pipes that the loop's connections may have at once (``Connection/splice(to:)``): two descriptors each, and room for 1 MiB.
    /// The kernel grants an unprivileged user 64 of them altogether (/proc/sys/fs/pipe-user-pages-soft, pipe(7)).
    public var splicePipesMax = EventLoopConfiguration.splicePipesDefault
    /// The default of ``splicePipesMax``.
    public static let splicePipesDefault = 64
    /// Whether the loop sleeps, polls or leaves I/O out, turn by turn.
    public var selectStrategy: any SelectStrategy = BlockWhenIdle()
    /// How many tasks may wait, and how long they may hold up I/O.
    public var tasks = TaskConfiguration()
    /// Called on the loop's thread with what its owner may want to log, once a second per event at most.
    public var report: (@Sendable (EventLoopReport) -> Void)?

    /// The defaults.
    public init() {}
}
