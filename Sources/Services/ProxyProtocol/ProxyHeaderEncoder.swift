import Transport

extension ProxyHeader {
    /// The header as the bytes to send before any payload: at most 107 in version 1, at most 232 in version 2.
    ///
    /// Where one address is IPv4 and the other IPv6, the IPv4 one is mapped (`::ffff:a.b.c.d`). Version 1 has no
    /// word for Unix-domain addresses, and no version has one for a Unix-domain address beside an IP one: both are
    /// sent as "unknown". An IPv6 scope is not sent.
    public func encoded(_ version: ProxyVersion) -> [UInt8] {
        let header = unified
        let bytes = version == .v1 ? header.line : header.block
        assert(version == .v2 || bytes.count <= ProxyWire.lineLengthMax)
        return bytes
    }

    /// The same header with both addresses in one family, without scopes, or ``unknown`` where there is no such family.
    private var unified: ProxyHeader {
        guard case .proxied(let source, let destination) = self else { return self }
        switch (source, destination) {
        case (.ipv4, .ipv4), (.unix, .unix): return self
        case (.unix, _), (_, .unix): return .unknown
        default: return .proxied(source: source.asIPv6, destination: destination.asIPv6)
        }
    }

    private var line: [UInt8] {
        guard case .proxied(let source, let destination) = self,
            let sourcePort = source.port, let destinationPort = destination.port
        else { return Array("PROXY UNKNOWN\r\n".utf8) }
        let family = if case .ipv4 = source { "TCP4" } else { "TCP6" }
        return Array("PROXY \(family) \(source.host) \(destination.host) \(sourcePort) \(destinationPort)\r\n".utf8)
    }

    private var block: [UInt8] {
        switch self {
        case .local: return fixed(.local, .unspecified)
        case .unknown: return fixed(.proxy, .unspecified)
        case .proxied(.ipv4(let source, let sourcePort), .ipv4(let destination, let destinationPort)):
            return fixed(.proxy, .ipv4) + bigEndian(source) + bigEndian(destination)
                + bigEndian(sourcePort) + bigEndian(destinationPort)
        case .proxied(
            .ipv6(let high, let low, let sourcePort, _),
            .ipv6(let destinationHigh, let destinationLow, let destinationPort, _)):
            return fixed(.proxy, .ipv6) + bigEndian(high) + bigEndian(low)
                + bigEndian(destinationHigh) + bigEndian(destinationLow)
                + bigEndian(sourcePort) + bigEndian(destinationPort)
        case .proxied(.unix(let source), .unix(let destination)):
            return fixed(.proxy, .unix) + padded(source) + padded(destination)
        case .proxied:
            preconditionFailure("the addresses were brought into one family before")
        }
    }
}

extension SocketAddress {
    /// This address as IPv6 without a scope: an IPv4 one mapped (RFC 4291, 2.5.5.2), a Unix-domain one unchanged.
    fileprivate var asIPv6: SocketAddress {
        switch self {
        case .ipv4(let host, let port): .ipv6(high: 0, low: 0xFFFF_0000_0000 | UInt64(host), port: port, scope: 0)
        case .ipv6(let high, let low, let port, _): .ipv6(high: high, low: low, port: port, scope: 0)
        case .unix: self
        }
    }
}

private func fixed(_ command: ProxyWire.Command, _ family: ProxyWire.Family) -> [UInt8] {
    let transport: ProxyWire.SocketType = family == .unspecified ? .unspecified : .stream
    return ProxyWire.signature
        + [0x20 | command.rawValue, family.rawValue << 4 | transport.rawValue]
        + bigEndian(UInt16(family.blockLength))
}

private func bigEndian(_ value: some FixedWidthInteger) -> [UInt8] {
    withUnsafeBytes(of: value.bigEndian) { Array($0) }
}

/// A path filled up with zeros; an abstract name ("@…", as ss(8) shows it) gets its leading zero back.
private func padded(_ path: String) -> [UInt8] {
    var bytes = Array(path.utf8)
    precondition(bytes.count < ProxyWire.unixPathLength, "the Unix-domain path is too long")
    if bytes.first == UInt8(ascii: "@") { bytes[0] = 0 }
    return bytes + [UInt8](repeating: 0, count: ProxyWire.unixPathLength - bytes.count)
}
