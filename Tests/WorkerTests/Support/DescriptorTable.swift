import Glibc
import Testing
import Transport

/// Descriptor tables for tests that fill theirs.
enum DescriptorTable {
    /// How many descriptors a test fills a table with at most; the limit of most machines is far below.
    static let descriptorsMax: rlim_t = 1 << 20

    static var limit: rlim_t {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        return limit.rlim_cur
    }

    /// Runs `body` on a thread with a table of its own, which holds the standard streams only and which the threads that
    /// `body` starts share: other tests do not run short. Nil when the kernel cannot do it.
    static func withOwn<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) throws -> Value? {
        try Background { () -> Value? in
            let unshare: Int32 = 2  // CLOSE_RANGE_UNSHARE
            guard closeRange(3, .max, unshare) == 0 else { return nil }
            return try body()
        }.value()
    }

    /// Runs `body` with a table of its own, which must hold in the end what it held in the beginning.
    static func leavingNothing(_ body: @escaping @Sendable () throws -> Void) throws {
        let isDone: Bool? = try withOwn {
            let before = open
            try body()
            // Threads that `body` has started close theirs when they end.
            let deadline = MonotonicTime.now + .seconds(20)
            while open.count > before.count, MonotonicTime.now < deadline { usleep(1000) }
            #expect(open == before, "descriptors are left behind")
            return true
        }
        if isDone == nil { try Test.cancel("close_range(2) is missing or denied here") }
    }

    /// What this thread's table holds, by number and kind.
    private static var open: [String] {
        guard let directory = opendir("/proc/thread-self/fd") else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let number = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            guard let fd = Int32(number), fd != dirfd(directory) else { continue }
            let target = withUnsafeTemporaryAllocation(byteCount: 256, alignment: 1) { buffer in
                let path = buffer.assumingMemoryBound(to: CChar.self)
                let count = readlink("/proc/thread-self/fd/\(number)", path.baseAddress!, path.count)
                return String(decoding: buffer.prefix(max(0, count)), as: UTF8.self)
            }
            names.append("\(number): \(target)")
        }
        return names
    }

    /// Takes every free descriptor of this thread's table but `count`; returns those taken.
    static func fill(leaving count: Int) -> [Int32] {
        var taken: [Int32] = []
        while case let next = dup(2), next >= 0 { taken.append(next) }
        for _ in 0..<count { close(taken.removeLast()) }
        return taken
    }
}

/// close_range(2), Linux 5.9, which Swift's Glibc module leaves out. -1 where the C library has none.
private func closeRange(_ first: UInt32, _ last: UInt32, _ flags: Int32) -> Int32 {
    guard let symbol = dlsym(nil, "close_range") else { return -1 }
    let call = unsafeBitCast(symbol, to: (@convention(c) (UInt32, UInt32, Int32) -> Int32).self)
    return call(first, last, flags)
}
