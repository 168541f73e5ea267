import Glibc

/// `HOST:PORT` or `[IPV6]:PORT` as a user writes it, taken apart and checked but not looked up.
package struct HostAndPort: Hashable, Sendable {
    /// A host name or a numeric address, without brackets.
    package let host: String
    /// 0 is allowed here; whoever wants to connect refuses it.
    package let port: UInt16
    /// The address, when `host` is a numeric one and no resolver is needed.
    package let numericAddress: SocketAddress?

    /// The longest host name in bytes (RFC 1035, 2.3.4: 255 on the wire, 253 as text).
    package static let hostLengthMax = 253

    /// Takes `text` apart. Nothing is asked of a resolver.
    package init(parsing text: String) throws(AddressSyntaxError) {
        guard !text.isEmpty else { throw AddressSyntaxError(text, .empty) }
        if text.utf8.first == UInt8(ascii: "[") {
            try self.init(bracketed: text)
        } else {
            try self.init(unbracketed: text)
        }
    }

    private init(bracketed text: String) throws(AddressSyntaxError) {
        guard let close = text.firstIndex(of: "]") else { throw AddressSyntaxError(text, .bracketsUnbalanced) }
        let host = String(text[text.index(after: text.startIndex)..<close])
        let rest = text[text.index(after: close)...]
        guard !rest.isEmpty else { throw AddressSyntaxError(text, .portMissing) }
        guard rest.first == ":" else { throw AddressSyntaxError(text, .bracketsUnbalanced) }
        port = try Self.port(rest.dropFirst(), of: text)
        guard !host.utf8.contains(0), let address = SocketAddress(numericHost: host, port: port),
            address.family == AF_INET6
        else {
            throw AddressSyntaxError(text, .ipv6Invalid(host))
        }
        self.host = host
        numericAddress = address
    }

    private init(unbracketed text: String) throws(AddressSyntaxError) {
        let fields = text.split(separator: ":", omittingEmptySubsequences: false)
        if fields.count > 1, fields[1].hasPrefix("//") {
            throw AddressSyntaxError(text, .scheme(String(fields[0])))
        }
        guard fields.count <= 2 else { throw AddressSyntaxError(text, .bracketsMissing) }
        guard fields.count == 2 else { throw AddressSyntaxError(text, .portMissing) }
        guard !fields[0].isEmpty else { throw AddressSyntaxError(text, .hostMissing) }
        host = String(fields[0])
        guard host != "*" else { throw AddressSyntaxError(text, .wildcard) }
        port = try Self.port(fields[1], of: text)
        if host.utf8.allSatisfy({ Self.isDigit($0) || $0 == UInt8(ascii: ".") }) {
            guard let address = Self.dottedQuad(host, port: port) else {
                throw AddressSyntaxError(text, .ipv4Invalid(host))
            }
            numericAddress = address
        } else {
            guard Self.isHostName(host) else { throw AddressSyntaxError(text, .hostInvalid(host)) }
            numericAddress = nil
        }
    }

    private static func port(_ digits: Substring, of text: String) throws(AddressSyntaxError) -> UInt16 {
        guard !digits.isEmpty else { throw AddressSyntaxError(text, .portMissing) }
        guard digits.utf8.allSatisfy(isDigit), let port = UInt16(digits) else {
            throw AddressSyntaxError(text, .portInvalid(String(digits)))
        }
        return port
    }

    /// getaddrinfo(3) also reads `127.1` and `2130706433`; inet_pton(3) takes exactly four decimal numbers.
    private static func dottedQuad(_ host: String, port: UInt16) -> SocketAddress? {
        var address = in_addr()
        guard inet_pton(AF_INET, host, &address) == 1 else { return nil }
        return .ipv4(UInt32(bigEndian: address.s_addr), port: port)
    }

    private static func isHostName(_ host: String) -> Bool {
        let isPlain = host.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "-"),
                UInt8(ascii: "_"), UInt8(ascii: "."):
                true
            default: isDigit(byte)
            }
        }
        let edge = host.utf8.first
        return isPlain && edge != UInt8(ascii: "-") && edge != UInt8(ascii: ".")
            && host.utf8.count <= hostLengthMax
    }

    private static func isDigit(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }
}

extension SocketAddress {
    /// The Unix-domain address of `unix:/path`; nil when `text` does not begin with `unix:`.
    package init?(unixText text: String) throws(AddressSyntaxError) {
        guard text.hasPrefix("unix:") else { return nil }
        let path = String(text.dropFirst("unix:".count))
        guard let first = path.utf8.first else { throw AddressSyntaxError(text, .pathMissing) }
        guard first == UInt8(ascii: "/") else { throw AddressSyntaxError(text, .pathRelative) }
        guard !path.utf8.contains(0) else { throw AddressSyntaxError(text, .pathHasZero) }
        guard path.utf8.count <= Self.unixPathLengthMax else {
            throw AddressSyntaxError(text, .pathTooLong(path.utf8.count))
        }
        self = .unix(path: path)
    }
}
