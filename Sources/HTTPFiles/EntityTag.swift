import Glibc

/// A file's entity tag (RFC 9110, 8.8.3): which file it is, its size, and when it was changed last.
///
/// Of the times of a file it takes that of the status change, which nobody can set back, and which a change of the contents
/// always sets. File systems tell it in steps of some milliseconds, so a file that was changed just now may change again
/// without a trace: until that is over, the tag is a weak one.
struct EntityTag: CustomStringConvertible {
    /// Inode, size, seconds and nanoseconds.
    private let numbers: (UInt64, UInt64, UInt64, UInt64)
    let isWeak: Bool

    /// - Parameter now: seconds since 1970.
    init(_ status: stat, now: time_t) {
        numbers = (
            UInt64(status.st_ino), UInt64(bitPattern: Int64(status.st_size)),
            UInt64(bitPattern: Int64(status.st_ctim.tv_sec)), UInt64(bitPattern: Int64(status.st_ctim.tv_nsec))
        )
        // Also when the clock was turned back.
        isWeak = now - status.st_ctim.tv_sec < 2
    }

    var description: String {
        var text = isWeak ? "W/\"" : "\""
        text += String(numbers.0, radix: 16)
        for number in [numbers.1, numbers.2, numbers.3] {
            text += "-"
            text += String(number, radix: 16)
        }
        text += "\""
        return text
    }

    // MARK: As header fields have them

    /// Whether If-None-Match, in however many fields, names the tag or is `*`: weak comparison.
    static func contains(_ values: [String], _ tag: String?) -> Bool {
        let list = values.joined(separator: ",")
        if list.filter({ $0 != " " && $0 != "\t" }) == "*" { return true }
        guard let tag, let opaque = opaqueTags(tag).first else { return false }
        return opaqueTags(list).contains(opaque)
    }

    /// Weak comparison (RFC 9110, 8.8.3.2).
    static func matches(_ one: String?, _ other: String?) -> Bool { one.map(strong) == other.map(strong) }

    private static func strong(_ tag: String) -> Substring { tag.hasPrefix("W/") ? tag.dropFirst(2) : tag[...] }

    /// Whether If-Range names the tag: strong comparison, as RFC 9110, 13.1.5 asks for. A date never is the same: from its
    /// seconds nobody knows whether the file was changed twice in one. Clients that were told a tag send none.
    static func isTheSame(_ value: String, _ tag: String?) -> Bool { value.hasPrefix("\"") && value == tag }

    /// What stands in quotation marks, of which tags have none inside.
    private static func opaqueTags(_ list: String) -> [Substring] {
        let parts = list.split(separator: "\"", omittingEmptySubsequences: false)
        return stride(from: 1, to: parts.count - 1, by: 2).map { parts[$0] }
    }
}
