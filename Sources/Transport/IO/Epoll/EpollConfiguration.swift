/// How an epoll loop waits.
public struct EpollConfiguration: Sendable {
    /// How many events one wait can bring.
    public enum EventCapacity: Sendable {
        /// Always so many, 1 or more.
        case fixed(Int)
        /// Twice as many after a wait that brought all it could, from the first number up to the second.
        case growable(initial: Int, max: Int)
    }

    /// Room for the events of one wait (epoll_wait(2)); what does not fit comes with the next.
    public var eventCapacity = EventCapacity.growable(initial: 64, max: 4096)

    /// The default: 64 events, growing up to 4,096.
    public init() {}
}
