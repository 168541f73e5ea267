import Glibc
import Synchronization

/// Counts the files that requests have open at once, and bounds them. Any thread.
///
/// A connection of HTTP/1.1 has one at a time; the many requests of a few HTTP/2 connections would leave no descriptors for
/// those of others.
final class OpenFiles: Sendable {
    /// As many as there may be connections, which have the other half of the descriptors.
    static let ofProcess = {
        var limit = rlimit()
        let isKnown = getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0
        return OpenFiles(max: Swift.max(1, (isKnown ? Int(clamping: limit.rlim_cur) : 1024) / 2 - reserve))
    }()

    /// Half of what is left to a process besides connections and files.
    private static let reserve = 32

    let max: Int
    private let count = Atomic<Int>(0)
    /// Who has files open that no request needs just now.
    private let savers = Mutex<[@Sendable () -> Void]>([])

    init(max: Int) { self.max = max }

    /// Returns false when there are too many, though all are closed that no request needs.
    func take() -> Bool {
        if tryToTake() { return true }
        for closeSpare in savers.withLock({ $0 }) { closeSpare() }
        return tryToTake()
    }

    /// `closeSpare` is called when there are too many, on any thread.
    func whenShort(_ closeSpare: @escaping @Sendable () -> Void) {
        savers.withLock { $0.append(closeSpare) }
    }

    private func tryToTake() -> Bool {
        if count.add(1, ordering: .relaxed).newValue <= max { return true }
        giveBack()
        return false
    }

    func giveBack() {
        let left = count.subtract(1, ordering: .relaxed).newValue
        assert(left >= 0, "a file is closed that was not counted")
    }
}
