/// How many bytes a receive is given room for, learned from what earlier ones brought. Pure.
///
/// A read that filled its room makes the next ones four times as large: there is more where it came from. A row of
/// reads that would not even have filled a room of a quarter makes it that quarter. All else leaves it alone.
struct AdaptiveSize {
    let min: UInt32
    let max: UInt32
    private(set) var current: UInt32
    /// Reads in a row that would not have filled the next smaller room.
    private var smallReads = 0

    /// From one size to the next.
    static let step: UInt32 = 4
    /// Small reads in a row that make it smaller: an exchange of messages is not to shrink it between two long ones.
    static let smallReadsMax = 64

    /// Sizes from `min`, which it begins with, to `max`; the same for a size that never changes.
    init(min: UInt32, max: UInt32) {
        precondition(min <= max && max <= .max / Self.step)
        self.min = min
        self.max = max
        current = min
    }

    private var smaller: UInt32 { Swift.max(min, current / Self.step) }

    /// A read into a room of `size` bytes brought `length`. What was given out before the last change says nothing.
    @inline(__always)
    mutating func record(_ length: UInt32, of size: UInt32) {
        guard min < max, size == current else { return }
        learn(length)
    }

    private mutating func learn(_ length: UInt32) {
        guard length < smaller, current > min else {
            smallReads = 0
            if length >= current { current = Swift.min(max, current * Self.step) }
            return
        }
        smallReads += 1
        if smallReads == Self.smallReadsMax {
            smallReads = 0
            current = smaller
        }
    }
}
