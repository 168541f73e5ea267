import Glibc

/// The processor time that this process has used (getrusage(2)), in microseconds.
struct ProcessTime: Equatable {
    var user: UInt64
    var system: UInt64

    var total: UInt64 { user + system }

    static var now: ProcessTime {
        var usage = rusage()
        // It fails for a bad address only.
        _ = getrusage(RUSAGE_SELF.rawValue, &usage)
        func microseconds(_ time: timeval) -> UInt64 { UInt64(time.tv_sec) * 1_000_000 + UInt64(time.tv_usec) }
        return ProcessTime(user: microseconds(usage.ru_utime), system: microseconds(usage.ru_stime))
    }

    static func - (later: ProcessTime, earlier: ProcessTime) -> ProcessTime {
        ProcessTime(user: later.user - earlier.user, system: later.system - earlier.system)
    }
}
