/// A set of CPU numbers as the kernel prints it: `0-3,8` (cpuset(7), "List format").
struct CPUList: Hashable, Sendable {
    /// Ascending and apart from one another, as the kernel prints them.
    let ranges: [ClosedRange<Int>]

    /// Reads a list, empty lists included; nil for anything else.
    init?(_ text: some StringProtocol) {
        var ranges: [ClosedRange<Int>] = []
        for item in text.split(separator: ",") {
            let ends = item.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
            guard ends.count <= 2, let first = ends[0], let last = ends[ends.count - 1], first >= 0, first <= last,
                first > ranges.last?.upperBound ?? -1
            else { return nil }
            ranges.append(first...last)
        }
        self.ranges = ranges
    }

    /// How many CPUs are in both sets.
    func countCommon(with other: CPUList) -> Int {
        var count = 0
        for mine in ranges {
            for its in other.ranges where mine.overlaps(its) {
                count += mine.clamped(to: its).count
            }
        }
        return count
    }
}
