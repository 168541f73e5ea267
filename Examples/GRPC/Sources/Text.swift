import GRPCCore

/// The message `Text` of `echo.proto`.
struct Text: Sendable {
    var text = ""
}

/// What swift-protobuf would generate, by hand for one message with one field. A service with more than that uses
/// grpc-swift-protobuf.
struct TextCoding: MessageSerializer, MessageDeserializer {
    /// The field's number, and that its value has a length.
    private static let textKey: UInt64 = 1 << 3 | 2

    func serialize<Bytes: GRPCContiguousBytes>(_ message: Text) -> Bytes {
        // A field with its default value is left out.
        guard !message.text.isEmpty else { return Bytes([]) }
        let text = Array(message.text.utf8)
        return Bytes(Self.varint(Self.textKey) + Self.varint(UInt64(text.count)) + text)
    }

    func deserialize<Bytes: GRPCContiguousBytes>(_ serializedMessageBytes: Bytes) throws -> Text {
        var message = Text()
        var rest = serializedMessageBytes.withUnsafeBytes { Array($0) }[...]
        while !rest.isEmpty {
            let key = try Self.takeVarint(&rest)
            if key == Self.textKey {
                message.text = String(decoding: try Self.takeBytes(Self.takeVarint(&rest), of: &rest), as: UTF8.self)
            } else {
                try Self.skip(key & 7, &rest)
            }
        }
        return message
    }

    private static func varint(_ value: UInt64) -> [UInt8] {
        var (rest, bytes) = (value, [UInt8]())
        while rest >= 0x80 {
            bytes.append(UInt8(rest & 0x7f) | 0x80)
            rest >>= 7
        }
        return bytes + [UInt8(rest)]
    }

    private static func takeVarint(_ rest: inout ArraySlice<UInt8>) throws -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: 0, to: 64, by: 7) {
            guard let byte = rest.popFirst() else { throw malformed }
            value |= UInt64(byte & 0x7f) << shift
            if byte & 0x80 == 0 { return value }
        }
        throw malformed
    }

    private static func takeBytes(_ count: UInt64, of rest: inout ArraySlice<UInt8>) throws -> ArraySlice<UInt8> {
        guard count <= rest.count else { throw malformed }
        defer { rest = rest.dropFirst(Int(count)) }
        return rest.prefix(Int(count))
    }

    /// A field of another version of the message.
    private static func skip(_ wireType: UInt64, _ rest: inout ArraySlice<UInt8>) throws {
        switch wireType {
        case 0: _ = try takeVarint(&rest)
        case 1: _ = try takeBytes(8, of: &rest)
        case 2: _ = try takeBytes(takeVarint(&rest), of: &rest)
        case 5: _ = try takeBytes(4, of: &rest)
        default: throw malformed
        }
    }

    private static var malformed: RPCError { RPCError(code: .invalidArgument, message: "this is no message") }
}
