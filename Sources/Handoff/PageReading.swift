import Transport

/// What the supervisor has read from a worker's page at one moment.
///
/// `credit - (sent - adopted)` more connections may be sent. The page changes while it is read, but this errs only to the
/// safe side: a connection may be counted both in flight and off the credit, never neither.
public struct PageReading: Equatable, Sendable {
    /// The sequence number of the next connection that the worker has not adopted: it answers for all before it, except
    /// the rejected.
    public var adopted: UInt64
    /// Sequence numbers before `adopted` that the worker could not take and that were not reported earlier: ascending,
    /// not overlapping. They are to be delivered elsewhere.
    public var rejected: [Range<UInt64>]
    /// Open connections, at most ``SupervisorPage/connectionsMax``.
    public var live: UInt32
    /// How many more connections the worker can take, at most ``SupervisorPage/connectionsMax``.
    public var credit: UInt32
    /// When the worker's loop last turned, as the worker says. Judge a worker by whether this changes, not by its age: a
    /// lie may lie in the future.
    public var heartbeat: MonotonicTime
    /// How long the worker's loop has worked since it began, as the worker says.
    public var busyNanoseconds: UInt64

    /// A reading with these values.
    public init(
        adopted: UInt64, rejected: [Range<UInt64>] = [], live: UInt32, credit: UInt32, heartbeat: MonotonicTime,
        busyNanoseconds: UInt64 = 0
    ) {
        self.adopted = adopted
        self.rejected = rejected
        self.live = live
        self.credit = credit
        self.heartbeat = heartbeat
        self.busyNanoseconds = busyNanoseconds
    }
}

/// A status page that no honest worker writes.
public enum PageCorruption: Error, Equatable, Sendable {
    /// `adopted` is smaller than it was.
    case adoptedWentBack(from: UInt64, to: UInt64)
    /// More is adopted than was ever sent.
    case adoptedBeyondSent(adopted: UInt64, sent: UInt64)
    /// The number of rejections went back, or is more than the ring holds ahead of those seen.
    case rejectionCount(written: UInt64, seen: UInt64)
    /// A rejected range is empty, too long, out of order, or not inside the sequence numbers adopted since the last reading.
    case rejectedRange(first: UInt64, count: UInt64, expected: Range<UInt64>)
}

extension PageCorruption: CustomStringConvertible {
    /// One clause for a log line.
    public var description: String {
        switch self {
        case .adoptedWentBack(let from, let to): "adopted went back from \(from) to \(to)"
        case .adoptedBeyondSent(let adopted, let sent): "adopted is \(adopted), but only \(sent) were sent"
        case .rejectionCount(let written, let seen): "\(written) rejections written, \(seen) seen"
        case .rejectedRange(let first, let count, let expected):
            "\(count) rejected from \(first), outside \(expected.lowerBound)..<\(expected.upperBound)"
        }
    }
}
