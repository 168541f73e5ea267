import CSocket
import Glibc
import Synchronization

/// One page of memory shared by the supervisor and the worker of one slot: a sealed memfd mapped by both.
///
/// It outlives the worker, so that what a dead worker had adopted and counted can still be read. Use it through
/// ``WorkerPage`` in the worker and ``SupervisorPage`` in the supervisor: each writes its own fields only. The mapping
/// and the descriptor last as long as the object.
public final class StatusPage {
    /// The size of the memfd in bytes.
    public static let size = 4096

    /// The memfd, close-on-exec, to be inherited by the worker.
    public let descriptor: Int32

    /// The page as atomic words. `Atomic<UInt64>` is laid out as a `UInt64`, and the zeroes of a new memfd are its
    /// initial value; it is never deinitialised, which for integers does nothing.
    @usableFromInline let words: UnsafeMutablePointer<Atomic<UInt64>>

    /// Maps the page of the memfd `descriptor` and takes the descriptor over, closing it on failure too.
    ///
    /// A memfd of another size is refused with EINVAL: touching a page that is not there would be SIGBUS.
    public init(owning descriptor: Int32) throws(HandoffError) {
        do throws(HandoffError) {
            words = try Self.map(descriptor)
            self.descriptor = descriptor
        } catch {
            close(descriptor)
            throw error
        }
    }

    private static func map(_ descriptor: Int32) throws(HandoffError) -> UnsafeMutablePointer<Atomic<UInt64>> {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw HandoffError(call: "fstat", errno: errno) }
        guard status.st_size == size else { throw HandoffError(call: "status page size", errno: EINVAL) }
        let address = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0)
        guard let address, address != MAP_FAILED else { throw HandoffError(call: "mmap", errno: errno) }
        return address.bindMemory(to: Atomic<UInt64>.self, capacity: PageLayout.wordCount)
    }

    deinit {
        munmap(words, Self.size)
        close(descriptor)
    }

    /// Makes a page of zeroes for a worker slot (memfd_create(2), sealed against resizing).
    public static func create(slot: Int) throws(HandoffError) -> StatusPage {
        let descriptor = csocket_memfd("ringmaster-status-\(slot)", size)
        guard descriptor >= 0 else { throw HandoffError(call: "memfd_create", errno: -descriptor) }
        return try StatusPage(owning: descriptor)
    }
}

/// Where each field is, in words of eight bytes. The first half is the worker's to write, the second the supervisor's,
/// so no cache line is written from both sides.
@usableFromInline
enum PageLayout {
    static let wordCount = StatusPage.size / MemoryLayout<UInt64>.size
    static let wordsPerCacheLine = 64 / MemoryLayout<UInt64>.size

    static let adopted = 0
    static let live = 1
    static let credit = 2
    static let rejectionsWritten = 3
    static let heartbeat = 4
    static let busyNanoseconds = 5
    /// A ring of rejected ranges, two words each: first, count.
    static let rejections = 8
    static let rejectionsMax = 16
    /// One word per ``Counter``.
    @usableFromInline static let counters = rejections + 2 * rejectionsMax
    static let workerEnd = counters + Counter.allCases.count

    static let supervisorStart = wordCount / 2
    static let released = supervisorStart
    static let rejectionsSeen = supervisorStart + 1
    static let supervisorEnd = supervisorStart + 2

    /// The first word of the rejection with this running number.
    static func rejection(_ number: UInt64) -> Int {
        rejections + 2 * Int(number % UInt64(rejectionsMax))
    }
}
