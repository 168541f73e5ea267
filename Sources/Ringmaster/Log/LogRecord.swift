import Glibc
import Logging

/// What a log line says, and the two ways to write it down.
struct LogRecord {
    /// What a field says. The two differ in JSON alone.
    enum Value {
        case text(String)
        /// A decimal number as JSON has it (RFC 8259, section 6).
        case number(String)

        /// Of metadata, which has no numbers, but may carry one along: `.stringConvertible(1)`.
        init(_ value: Logger.Metadata.Value) {
            if case .stringConvertible(let carried) = value, Self.isNumber(carried) {
                self = .number(carried.description)
            } else {
                self = .text(value.description)
            }
        }

        private static func isNumber(_ value: any CustomStringConvertible) -> Bool {
            switch value {
            case is Int, is UInt64, is UInt32, is UInt16, is UInt8, is UInt, is Int64, is Int32, is Int16, is Int8: true
            case let value as Double: value.isFinite
            default: false
            }
        }

        fileprivate var text: String {
            switch self {
            case .text(let text), .number(let text): text
            }
        }
    }

    /// Since 1970, UTC.
    let time: timespec
    let level: String
    let source: String
    let message: String
    let fields: [(key: String, value: Value)]

    /// One line of text with its line feed. The message stands as it is, save for control characters.
    var textLine: [UInt8] {
        var line = BoundedLine(reserve: "\n".utf8.count)
        line.append("\(timestamp) \(level) ")
        line.append(source, escape: Self.textEscape)
        line.append(": ")
        line.append(message, escape: Self.textEscape)
        for (key, value) in fields {
            line.append(" ")
            appendWord(key, to: &line)
            line.append("=")
            appendWord(value.text, to: &line)
        }
        return line.bytes + "\n".utf8
    }

    /// One JSON object (RFC 8259) with its line feed. A field named as one of the first four gets a `_` behind its name.
    var jsonLine: [UInt8] {
        var line = BoundedLine(reserve: "\"}\n".utf8.count)
        let own = [("time", timestamp), ("level", level), ("source", source), ("message", message)]
        for (key, value) in own { Self.appendMember(key, .text(value), to: &line) }
        for (key, value) in fields {
            let isTaken = own.contains { $0.0 == key }
            Self.appendMember(isTaken ? key + "_" : key, value, to: &line)
        }
        return line.bytes + "}\n".utf8
    }

    /// ISO 8601 with milliseconds, in UTC.
    private var timestamp: String {
        var seconds = time.tv_sec
        var parts = tm()
        gmtime_r(&seconds, &parts)
        func padded(_ number: Int, _ width: Int) -> String {
            let digits = String(number)
            return String(repeating: "0", count: max(0, width - digits.count)) + digits
        }
        let date = [
            padded(Int(parts.tm_year) + 1900, 4), padded(Int(parts.tm_mon) + 1, 2), padded(Int(parts.tm_mday), 2),
        ]
        let clock = [parts.tm_hour, parts.tm_min, parts.tm_sec].map { padded(Int($0), 2) }
        let milliseconds = padded(time.tv_nsec / 1_000_000, 3)
        return date.joined(separator: "-") + "T" + clock.joined(separator: ":") + ".\(milliseconds)Z"
    }

    /// A key or a value: in quotes where a reader could not tell where it ends.
    private func appendWord(_ word: String, to line: inout BoundedLine) {
        let isPlain = word.unicodeScalars.allSatisfy { scalar in
            Self.textEscape(scalar) == nil && !scalar.properties.isWhitespace
                && !"\"\\=".unicodeScalars.contains(scalar)
        }
        guard !isPlain || word.isEmpty else { return line.append(word) }
        line.append("\"")
        line.append(word) { $0 == "\"" || $0 == "\\" ? "\\\($0)" : Self.textEscape($0) }
        line.append("\"")
    }

    /// Control characters could break the line or command a terminal.
    private static func textEscape(_ scalar: Unicode.Scalar) -> String? {
        switch scalar {
        case "\n": "\\n"
        case "\r": "\\r"
        case "\t": "\\t"
        case _ where scalar.properties.generalCategory == .control: "\\u{\(String(scalar.value, radix: 16))}"
        case "\u{2028}", "\u{2029}": "\\u{\(String(scalar.value, radix: 16))}"
        default: nil
        }
    }

    private static func jsonEscape(_ scalar: Unicode.Scalar) -> String? {
        switch scalar {
        case "\"": "\\\""
        case "\\": "\\\\"
        case _ where scalar.properties.generalCategory == .control:
            "\\u" + String(0x1_0000 + scalar.value, radix: 16).dropFirst()
        default: nil
        }
    }

    /// A member is left out when not even its key fits, or not all of a number, and a text is cut when that does not; the
    /// object stays whole.
    private static func appendMember(_ key: String, _ value: Value, to line: inout BoundedLine) {
        var opening = line.bytes.isEmpty ? "{\"" : ",\""
        for scalar in key.unicodeScalars { opening += jsonEscape(scalar) ?? String(scalar) }
        switch value {
        case .number(let digits): _ = line.appendWhole(opening + "\":" + digits)
        case .text(let text):
            guard line.appendWhole(opening + "\":\"") else { return }
            line.append(text, escape: jsonEscape)
            line.close("\"")
        }
    }
}
