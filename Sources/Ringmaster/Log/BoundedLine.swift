/// The bytes of a log line, which ends with "…" where it would grow too long.
struct BoundedLine {
    /// The most bytes in a line, its line feed included.
    static let lengthMax = 8 * 1024
    private static let ellipsis = "…"

    private(set) var bytes: [UInt8] = []
    private var isCut = false
    /// How far `bytes` may grow before it is cut.
    private let fillMax: Int

    /// A line that has room for `reserve` bytes more when it is full.
    init(reserve: Int) {
        fillMax = Self.lengthMax - Self.ellipsis.utf8.count - reserve
        bytes.reserveCapacity(256)
    }

    /// Appends `text` with each character replaced by what `escape` says, nil for the character itself, as far as it fits.
    mutating func append(_ text: String, escape: (Unicode.Scalar) -> String? = { _ in nil }) {
        for scalar in text.unicodeScalars {
            let piece = escape(scalar) ?? String(scalar)
            guard !isCut else { return }
            guard bytes.count + piece.utf8.count <= fillMax else {
                bytes += Self.ellipsis.utf8
                isCut = true
                return
            }
            bytes += piece.utf8
        }
    }

    /// Appends `text` if all of it fits; if not, nothing more is appended to the line at all.
    mutating func appendWhole(_ text: String) -> Bool {
        guard !isCut, bytes.count + text.utf8.count <= fillMax else {
            isCut = true
            return false
        }
        bytes += text.utf8
        return true
    }

    /// Appends what the reserve is for, cut or not.
    mutating func close(_ text: String) {
        bytes += text.utf8
        assert(bytes.count <= Self.lengthMax)
    }
}
