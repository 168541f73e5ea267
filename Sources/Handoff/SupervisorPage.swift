import Synchronization
import Transport

/// What the supervisor may do with the status page of a worker slot. Keep one per page: it remembers what was read.
///
/// The worker can write anything anywhere in the page at any time, so nothing the supervisor relies on is read back from
/// it, each word is loaded once, and what is loaded is checked.
public struct SupervisorPage {
    /// Larger values of live and credit are taken for this.
    public static let connectionsMax: UInt32 = 1 << 24

    /// The page itself, to be inherited by the worker.
    public let page: StatusPage

    /// How far the supervisor has read a page: for the program that goes on with it.
    public struct Progress: Hashable, Sendable, Codable {
        fileprivate var adopted: UInt64 = 0
        fileprivate var rejectionsSeen: UInt64 = 0
    }

    /// How far this page has been read.
    public private(set) var progress = Progress()

    private var adopted: UInt64 {
        get { progress.adopted }
        set { progress.adopted = newValue }
    }

    private var rejectionsSeen: UInt64 {
        get { progress.rejectionsSeen }
        set { progress.rejectionsSeen = newValue }
    }

    /// A view of a new page.
    public init(_ page: StatusPage) {
        self.page = page
    }

    /// A view of a page that another program of this process has read so far.
    public init(_ page: StatusPage, resuming progress: Progress) {
        self.page = page
        self.progress = progress
    }

    /// Makes the page ready for the next worker of the slot, whose sequence numbers begin at 0 again. Counters go on.
    ///
    /// Call it only when the last worker has been reaped and read for the last time.
    public mutating func reset() {
        adopted = 0
        rejectionsSeen = 0
        for word in 0..<PageLayout.counters { page.words[word].store(0, ordering: .relaxed) }
        for word in PageLayout.supervisorStart..<PageLayout.supervisorEnd {
            page.words[word].store(0, ordering: .relaxed)
        }
    }

    /// Reads what the worker says now. `sent` is the sequence number after the last connection sent to it.
    ///
    /// Every rejection is reported once, in the first reading whose `adopted` has passed it. When it throws, the worker
    /// cannot be trusted any more, and the state is that of the last good reading.
    ///
    /// - Precondition: `sent` has not gone back.
    public mutating func read(sent: UInt64) throws(PageCorruption) -> PageReading {
        precondition(sent >= adopted, "fewer connections sent than adopted before")
        // First of all: what is read after it is at least as new. See WorkerPage.
        let adopted = page.words[PageLayout.adopted].load(ordering: .acquiring)
        guard adopted >= self.adopted else { throw .adoptedWentBack(from: self.adopted, to: adopted) }
        guard adopted <= sent else { throw .adoptedBeyondSent(adopted: adopted, sent: sent) }
        let rejected = try readRejections(in: self.adopted..<adopted)

        let reading = PageReading(
            adopted: adopted, rejected: rejected,
            live: bounded(PageLayout.live), credit: bounded(PageLayout.credit),
            heartbeat: MonotonicTime(nanoseconds: word(PageLayout.heartbeat)),
            busyNanoseconds: word(PageLayout.busyNanoseconds))

        self.adopted = adopted
        if !rejected.isEmpty {
            rejectionsSeen &+= UInt64(rejected.count)
            // Released after the entries were read, since the worker may overwrite them from now on.
            page.words[PageLayout.rejectionsSeen].store(rejectionsSeen, ordering: .releasing)
        }
        return reading
    }

    /// Tells the worker that the copies of all connections it adopted with a smaller sequence number have been closed.
    public func publish(released: UInt64) {
        assert(released <= adopted, "only what is adopted is released")
        page.words[PageLayout.released].store(released, ordering: .releasing)
    }

    /// What the workers of this slot have counted. Not checked: good for statistics only.
    public func count(_ counter: Counter) -> UInt64 { word(PageLayout.counters + counter.rawValue) }

    /// The rejections not seen before in the newly adopted range, in order.
    private func readRejections(in newlyAdopted: Range<UInt64>) throws(PageCorruption) -> [Range<UInt64>] {
        let written = page.words[PageLayout.rejectionsWritten].load(ordering: .acquiring)
        // Wraps to a large number when it went back.
        guard written &- rejectionsSeen <= UInt64(PageLayout.rejectionsMax) else {
            throw .rejectionCount(written: written, seen: rejectionsSeen)
        }
        var rejected: [Range<UInt64>] = []
        var lowest = newlyAdopted.lowerBound
        var number = rejectionsSeen
        while number != written {
            let entry = PageLayout.rejection(number)
            let first = word(entry)
            let count = word(entry + 1)
            // Written after `adopted` was loaded. It is due when `adopted` passes it.
            if first >= newlyAdopted.upperBound { break }
            guard first >= lowest, 1...UInt64(Packet.connectionsMax) ~= count,
                count <= newlyAdopted.upperBound - first
            else { throw .rejectedRange(first: first, count: count, expected: lowest..<newlyAdopted.upperBound) }
            rejected.append(first..<first + count)
            lowest = first + count
            number &+= 1
        }
        return rejected
    }

    private func word(_ index: Int) -> UInt64 { page.words[index].load(ordering: .relaxed) }

    private func bounded(_ index: Int) -> UInt32 { UInt32(min(word(index), UInt64(Self.connectionsMax))) }
}
