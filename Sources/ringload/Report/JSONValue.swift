/// A JSON value that keeps its members in order (RFC 8259).
enum JSONValue {
    case null
    case bool(Bool)
    case integer(UInt64)
    /// Rounded to three decimals; what is not finite is null.
    case number(Double)
    case string(String)
    case array([JSONValue])
    case object([(String, JSONValue)])

    static func number(_ value: Double?) -> JSONValue { value.map { JSONValue.number($0) } ?? .null }
    static func string(_ value: String?) -> JSONValue { value.map { JSONValue.string($0) } ?? .null }
    static func integer(_ value: Int) -> JSONValue { .integer(UInt64(max(0, value))) }

    /// Without line breaks.
    var text: String {
        switch self {
        case .null: "null"
        case .bool(let value): value ? "true" : "false"
        case .integer(let value): "\(value)"
        case .number(let value): value.isFinite ? "\((value * 1000).rounded() / 1000)" : "null"
        case .string(let value): Self.quoted(value)
        case .array(let values): "[" + values.map(\.text).joined(separator: ",") + "]"
        case .object(let members):
            "{" + members.map { "\(Self.quoted($0.0)):\($0.1.text)" }.joined(separator: ",") + "}"
        }
    }

    private static func quoted(_ string: String) -> String {
        var text = "\""
        for scalar in string.unicodeScalars {
            switch scalar {
            case "\"": text += "\\\""
            case "\\": text += "\\\\"
            case "\n": text += "\\n"
            case "\u{0}"..<" ":
                let hex = String(scalar.value, radix: 16)
                text += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
            default: text.unicodeScalars.append(scalar)
            }
        }
        return text + "\""
    }
}
