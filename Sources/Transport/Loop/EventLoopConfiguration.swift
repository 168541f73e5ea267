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

    /// The defaults.
    public init() {}
}
