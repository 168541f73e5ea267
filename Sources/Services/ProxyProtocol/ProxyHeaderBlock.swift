import Transport

/// The bytes of a version 2 header.
enum ProxyHeaderBlock {
    /// Where the longest address block, that of two Unix-domain paths, ends.
    static let addressEndMax = ProxyWire.fixedLength + ProxyWire.Family.unix.blockLength

    /// How many bytes follow the fixed part, which is checked on the way.
    static func remainingLength(_ bytes: [UInt8]) throws(ProxyHeaderError) -> Int {
        precondition(bytes.count == ProxyWire.fixedLength)
        let length = Int(bytes[14]) << 8 | Int(bytes[15])
        // For LOCAL the family and what follows are to be ignored, says the specification.
        if try command(bytes[12]) == .proxy {
            let (family, _) = try familyAndTransport(bytes[13])
            guard length >= family.blockLength else { throw .blockTooShort(length) }
        }
        guard length <= ProxyHeaderDecoder.extensionLengthMax else { throw .blockTooLong(length) }
        return length
    }

    /// Reads the fixed part and the address block behind it.
    static func header(_ bytes: [UInt8]) throws(ProxyHeaderError) -> ProxyHeader {
        if try command(bytes[12]) == .local { return .local }
        let (family, transport) = try familyAndTransport(bytes[13])
        // A datagram's addresses cannot be those of the stream that this header opens.
        guard transport == .stream else { return .unknown }
        let start = ProxyWire.fixedLength
        precondition(bytes.count >= start + family.blockLength)
        switch family {
        case .unspecified:
            return .unknown
        case .ipv4:
            return .proxied(
                source: .ipv4(integer(bytes, at: start), port: integer(bytes, at: start + 8)),
                destination: .ipv4(integer(bytes, at: start + 4), port: integer(bytes, at: start + 10)))
        case .ipv6:
            return .proxied(
                source: ipv6(bytes, at: start, portAt: start + 32),
                destination: ipv6(bytes, at: start + 16, portAt: start + 34))
        case .unix:
            let middle = start + ProxyWire.unixPathLength
            return .proxied(
                source: try unix(bytes[start..<middle]),
                destination: try unix(bytes[middle..<(middle + ProxyWire.unixPathLength)]))
        }
    }

    private static func command(_ byte: UInt8) throws(ProxyHeaderError) -> ProxyWire.Command {
        guard byte >> 4 == 2, let command = ProxyWire.Command(rawValue: byte & 0x0F) else {
            throw .versionOrCommand(byte)
        }
        return command
    }

    private static func familyAndTransport(
        _ byte: UInt8
    ) throws(ProxyHeaderError) -> (ProxyWire.Family, ProxyWire.SocketType) {
        guard let family = ProxyWire.Family(rawValue: byte >> 4),
            let transport = ProxyWire.SocketType(rawValue: byte & 0x0F)
        else { throw .familyOrTransport(byte) }
        return (family, transport)
    }

    private static func integer<Value: FixedWidthInteger & UnsignedInteger>(
        _ bytes: [UInt8], at start: Int
    ) -> Value {
        bytes[start..<(start + MemoryLayout<Value>.size)].reduce(0) { $0 << 8 | Value($1) }
    }

    private static func ipv6(_ bytes: [UInt8], at start: Int, portAt: Int) -> SocketAddress {
        .ipv6(
            high: integer(bytes, at: start), low: integer(bytes, at: start + 8),
            port: integer(bytes, at: portAt), scope: 0)
    }

    /// A path ends at its first zero, and one that begins with zero is an abstract name or, all zeros, no name (unix(7)).
    private static func unix(_ field: ArraySlice<UInt8>) throws(ProxyHeaderError) -> SocketAddress {
        let end = field.lastIndex { $0 != 0 }.map { $0 + 1 } ?? field.startIndex
        let isAbstract = field.first == 0 && end > field.startIndex
        let name = isAbstract ? field[..<end].dropFirst() : field.prefix { $0 != 0 }
        guard let text = String(validating: name, as: UTF8.self) else { throw .unixPath }
        let path = isAbstract ? "@" + text : text
        guard path.utf8.count <= SocketAddress.unixPathLengthMax else { throw .unixPath }
        return .unix(path: path)
    }
}
