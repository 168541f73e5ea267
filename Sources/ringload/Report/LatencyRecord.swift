import Histogram

/// Times in nanoseconds, counted in a histogram of fixed size: recording allocates nothing.
struct LatencyRecord {
    /// What takes longer is recorded as this much, and counted in `clamped`.
    static let nanosecondsMax: UInt64 = 60_000_000_000

    private var histogram = Histogram<UInt64>(
        lowestDiscernibleValue: 1, highestTrackableValue: nanosecondsMax, numberOfSignificantValueDigits: .three)
    private(set) var clamped: UInt64 = 0

    /// From `start` to `end`; a time of 0 counts as 1 ns.
    @inline(__always)
    mutating func record(from start: UInt64, to end: UInt64) {
        let nanoseconds = end > start ? end &- start : 1
        if nanoseconds > Self.nanosecondsMax {
            clamped &+= 1
            histogram.record(Self.nanosecondsMax)
        } else {
            histogram.record(nanoseconds)
        }
    }

    var summary: LatencySummary {
        func value(_ percentile: Double) -> Double { Double(histogram.valueAtPercentile(percentile)) / 1000 }
        guard histogram.totalCount > 0 else { return LatencySummary() }
        return LatencySummary(
            count: histogram.totalCount, min: Double(histogram.min) / 1000, mean: histogram.mean / 1000,
            p50: value(50), p90: value(90), p99: value(99), p999: value(99.9), max: Double(histogram.max) / 1000,
            clamped: clamped)
    }
}

/// What a ``LatencyRecord`` comes to, in microseconds; all 0 when nothing was recorded.
struct LatencySummary: Equatable {
    var count: UInt64 = 0
    var min = 0.0
    var mean = 0.0
    var p50 = 0.0
    var p90 = 0.0
    var p99 = 0.0
    var p999 = 0.0
    var max = 0.0
    /// How many took longer than a record holds.
    var clamped: UInt64 = 0
}
