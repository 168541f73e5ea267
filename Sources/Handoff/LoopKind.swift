import Transport

/// How the loops of a supervisor and its workers reach the kernel: decided once, by the supervisor, for all of them.
public enum LoopKind: String, CaseIterable, Sendable, Codable {
    /// A ring of the usual size.
    case ring = "io_uring"
    /// The smallest ring: locked memory is short, and there must be enough for every worker.
    case smallRing = "io_uring-small"
    /// No ring: epoll.
    case epoll

    /// The loop's sizes and transport.
    public var configuration: EventLoopConfiguration {
        var configuration = EventLoopConfiguration()
        switch self {
        case .ring: break
        case .smallRing: configuration.uring = .smallest
        case .epoll: configuration.transport = .epoll
        }
        return configuration
    }

    /// Which transport it is.
    public var transport: TransportKind { configuration.transport }
}
