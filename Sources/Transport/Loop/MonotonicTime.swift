import Glibc

/// A moment on the monotonic clock (`CLOCK_MONOTONIC`, clock_gettime(2)), in nanoseconds.
///
/// It never goes back and knows nothing of wall-clock time. It does not count while the machine is suspended.
public struct MonotonicTime: Comparable, Hashable, Sendable {
    /// Nanoseconds since an arbitrary start.
    public var nanoseconds: UInt64

    /// A moment so many nanoseconds after the clock's start.
    public init(nanoseconds: UInt64) {
        self.nanoseconds = nanoseconds
    }

    /// The moment of the call. Any thread.
    public static var now: MonotonicTime {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return MonotonicTime(nanoseconds: UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec))
    }

    /// A moment that never comes.
    public static var distantFuture: MonotonicTime { MonotonicTime(nanoseconds: .max) }

    /// Whether `left` is before `right`.
    public static func < (left: MonotonicTime, right: MonotonicTime) -> Bool {
        left.nanoseconds < right.nanoseconds
    }

    /// The moment `duration` later; stops at ``distantFuture`` instead of overflowing. A negative duration counts as zero.
    public static func + (time: MonotonicTime, duration: Duration) -> MonotonicTime {
        let (sum, overflow) = time.nanoseconds.addingReportingOverflow(duration.wholeNanoseconds)
        return overflow ? .distantFuture : MonotonicTime(nanoseconds: sum)
    }

    /// The duration from `earlier` to `later`; zero when `later` is not later.
    public static func - (later: MonotonicTime, earlier: MonotonicTime) -> Duration {
        later <= earlier ? .zero : .nanoseconds(Int64(clamping: later.nanoseconds - earlier.nanoseconds))
    }
}

extension Duration {
    /// This duration in whole nanoseconds: 0 when negative, `UInt64.max` when it does not fit.
    public var wholeNanoseconds: UInt64 {
        let (seconds, attoseconds) = components
        guard seconds >= 0, attoseconds >= 0 else { return 0 }
        let (product, overflow) = UInt64(seconds).multipliedReportingOverflow(by: 1_000_000_000)
        guard !overflow else { return .max }
        let (sum, carry) = product.addingReportingOverflow(UInt64(attoseconds / 1_000_000_000))
        return carry ? .max : sum
    }
}
