import Glibc
import Transport

/// The text of a version 1 header.
enum ProxyHeaderLine {
    /// Reads a line that begins with `PROXY `, without its CR LF.
    static func header(_ line: ArraySlice<UInt8>) throws(ProxyHeaderError) -> ProxyHeader {
        assert(line.starts(with: ProxyWire.linePrefix))
        let fields = line.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
            .map { String(decoding: $0, as: UTF8.self) }
        let family: Int32
        switch fields[1] {
        // What follows the word is to be ignored up to the line's end, says the specification.
        case "UNKNOWN": return .unknown
        case "TCP4": family = AF_INET
        case "TCP6": family = AF_INET6
        default: throw .lineFamily
        }
        guard fields.count == 6 else { throw .lineFields }
        return .proxied(
            source: try address(fields[2], port: try port(fields[4]), family),
            destination: try address(fields[3], port: try port(fields[5]), family))
    }

    /// inet_pton(3) is as strict as the specification: no leading zeros, no scope, no space.
    private static func address(
        _ text: String, port: UInt16, _ family: Int32
    ) throws(ProxyHeaderError) -> SocketAddress {
        guard !text.utf8.contains(0) else { throw .lineAddress }
        if family == AF_INET {
            var v4 = in_addr()
            guard inet_pton(AF_INET, text, &v4) == 1 else { throw .lineAddress }
            return .ipv4(UInt32(bigEndian: v4.s_addr), port: port)
        }
        var v6 = in6_addr()
        guard inet_pton(AF_INET6, text, &v6) == 1 else { throw .lineAddress }
        let (high, low) = withUnsafeBytes(of: v6) {
            ($0.loadUnaligned(as: UInt64.self), $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
        }
        return .ipv6(high: UInt64(bigEndian: high), low: UInt64(bigEndian: low), port: port, scope: 0)
    }

    private static func port(_ text: String) throws(ProxyHeaderError) -> UInt16 {
        // The comparison refuses "+80" and "080", which the conversion alone takes.
        guard let port = UInt16(text), String(port) == text else { throw .linePort }
        return port
    }
}
