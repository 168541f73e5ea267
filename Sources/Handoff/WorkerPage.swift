import Synchronization
import Transport

/// What a worker may do with its status page. One thread of one process writes it.
///
/// The order is the contract with ``SupervisorPage``: live and credit are stored first and `adopted` is store-released
/// last. Whoever load-acquires `adopted` therefore sees a credit from which everything adopted is already taken off,
/// and every rejection below it.
public struct WorkerPage {
    /// The most rejections that the supervisor may not have seen yet.
    public static let rejectionsMax = PageLayout.rejectionsMax

    @usableFromInline let page: StatusPage

    /// A view of the worker's own page.
    public init(_ page: StatusPage) {
        self.page = page
    }

    /// The sequence number of the next connection that is not adopted yet; 0 in a new worker.
    public var adopted: UInt64 { own(PageLayout.adopted) }

    /// The supervisor has let go of its copy of every connection with a smaller sequence number. Until then close(2)
    /// alone sends nothing to the client: shut down first.
    public var released: UInt64 { page.words[PageLayout.released].load(ordering: .acquiring) }

    /// The supervisor's copies, of which ``released`` tells, by the connections' sequence numbers.
    public var copies: SharedCopies { SharedCopies(released: page.words + PageLayout.released, owner: page) }

    /// Whether a rejection can be recorded. While it cannot, do not receive: a packet may need one.
    public var canReject: Bool {
        let seen = page.words[PageLayout.rejectionsSeen].load(ordering: .acquiring)
        return own(PageLayout.rejectionsWritten) &- seen < UInt64(Self.rejectionsMax)
    }

    /// Takes responsibility for the next `count` connections. From here on they live and die with this worker, so call it
    /// when their descriptors are in the table and before the first operation on them is submitted.
    ///
    /// `live` and `credit` are the values with these connections counted in.
    public func adopt(_ count: Int, live: UInt32, credit: UInt32) {
        precondition(count >= 1)
        publish(live: live, credit: credit)
        advance(UInt64(count))
    }

    /// Passes over the next `count` connections, whose descriptors did not arrive: the supervisor still has them and gives
    /// them to another worker. False, and nothing is done, when the ring is full (``canReject``).
    public func reject(_ count: Int) -> Bool {
        precondition(1...Packet.connectionsMax ~= count)
        guard canReject else { return false }
        let written = own(PageLayout.rejectionsWritten)
        let entry = PageLayout.rejection(written)
        set(entry, adopted)
        set(entry + 1, UInt64(count))
        // Released before `adopted` is, so that the supervisor cannot see them adopted without seeing them rejected.
        page.words[PageLayout.rejectionsWritten].store(written &+ 1, ordering: .releasing)
        advance(UInt64(count))
        return true
    }

    /// Passes over the next `count` connections, whose descriptors did not arrive, when nobody will read a rejection any
    /// more: the supervisor is gone, and its copies with it.
    public func passOver(_ count: Int) {
        precondition(1...Packet.connectionsMax ~= count)
        advance(UInt64(count))
    }

    /// Says how many connections are open and how many more this worker can take.
    public func publish(live: UInt32, credit: UInt32) {
        set(PageLayout.live, UInt64(live))
        set(PageLayout.credit, UInt64(credit))
    }

    /// Shows that the loop turns: the time, and how long the loop has been working rather than waiting since it began.
    public func beat(at now: MonotonicTime, busyNanoseconds: UInt64) {
        set(PageLayout.busyNanoseconds, busyNanoseconds)
        set(PageLayout.heartbeat, now.nanoseconds)
    }

    /// Adds to a counter. There is one writer, so a load and a store do.
    @inlinable
    public func add(_ count: UInt64, to counter: Counter) {
        let word = PageLayout.counters + counter.rawValue
        let sum = page.words[word].load(ordering: .relaxed) &+ count
        page.words[word].store(sum, ordering: .relaxed)
    }

    private func advance(_ count: UInt64) {
        page.words[PageLayout.adopted].store(adopted &+ count, ordering: .releasing)
    }

    private func own(_ word: Int) -> UInt64 {
        assert(word < PageLayout.workerEnd)
        return page.words[word].load(ordering: .relaxed)
    }

    private func set(_ word: Int, _ value: UInt64) {
        assert(word < PageLayout.workerEnd)
        page.words[word].store(value, ordering: .relaxed)
    }
}
