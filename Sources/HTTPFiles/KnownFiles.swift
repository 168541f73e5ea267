import NIOCore
import NIOHTTP1
import Synchronization
import Transport

/// Files that were opened within the last second, with the heads of their answers. Any thread.
///
/// Before each use it is asked by fstatat(2) whether the same file stands at the path, and unchanged: what is saved is to open
/// it, and to make the head anew. What that does not tell is seen a second later at most: a change on a network file system
/// that another machine has made, a directory that was moved out of the root and that a link leads to.
final class KnownFiles: Sendable {
    /// A file whose entity tag is a strong one: it stays the same until the file changes.
    final class Known: Sendable {
        let file: SiteFile
        let head: HTTPResponseHead
        /// What must not be there for the answer to be this file, as paths.
        let variants: [String]
        /// All of it was found in the page cache.
        let isCached = Atomic<Bool>(false)
        fileprivate let opened: MonotonicTime

        init(_ file: SiteFile, _ head: HTTPResponseHead, variants: [String], _ opened: MonotonicTime) {
            self.file = file
            self.head = head
            self.variants = variants
            self.opened = opened
        }
    }

    private enum Sweeping {
        case none, scheduled
    }

    private struct State {
        var files: [String: Known] = [:]
        var sweeping = Sweeping.none
    }

    /// So long a file is kept. It may have been deleted, and takes its place on the disk as long as it is open.
    static let lifetime: Duration = .seconds(1)
    private static let countMax = 256

    private let state = Mutex(State())
    private let countMax: Int

    /// Of the descriptors that requests may have it takes an eighth at most.
    init(_ openFiles: OpenFiles) {
        countMax = min(Self.countMax, openFiles.max / 8)
        openFiles.whenShort { [weak self] in self?.forgetAll() }
    }

    var count: Int { state.withLock { $0.files.count } }

    func find(_ path: String, _ now: MonotonicTime) -> Known? {
        guard let known = state.withLock({ $0.files[path] }) else { return nil }
        if now - known.opened < Self.lifetime { return known }
        forget(path)
        return nil
    }

    /// Keeps a file, if there is room. It is closed on the loop's thread.
    func keep(_ known: Known, _ path: String, _ loop: any NIOCore.EventLoop) {
        let sweeps = state.withLock { state in
            guard state.files.count < countMax else { return false }
            state.files[path] = known
            defer { state.sweeping = .scheduled }
            return state.sweeping == .none
        }
        if sweeps { sweepLater(loop) }
    }

    func forget(_ path: String) {
        // Closed outside of the lock.
        _ = state.withLock { $0.files.removeValue(forKey: path) }
    }

    /// Requests that want to open a file come first.
    private func forgetAll() {
        // Closed outside of the lock.
        _ = state.withLock { state in
            defer { state.files = [:] }
            return state.files
        }
    }

    private func sweepLater(_ loop: any NIOCore.EventLoop) {
        loop.scheduleTask(in: .nanoseconds(Int64(Self.lifetime.wholeNanoseconds))) { [self] in
            if sweep(.now) { sweepLater(loop) }
        }
    }

    /// Returns whether there are files left.
    func sweep(_ now: MonotonicTime) -> Bool {
        let (hasLeft, closed) = state.withLock { state in
            let old = state.files.filter { now - $0.value.opened >= Self.lifetime }
            for path in old.keys { state.files[path] = nil }
            if state.files.isEmpty { state.sweeping = .none }
            return (!state.files.isEmpty, old)
        }
        _ = consume closed
        return hasLeft
    }
}
