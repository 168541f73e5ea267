import Transport

/// Where to connect to, as a user writes it: `HOST:PORT`, `[IPV6]:PORT` or `unix:/path`.
public enum UpstreamAddress: Hashable, Sendable {
    /// A numeric address or a Unix-domain path: nothing to look up.
    case address(SocketAddress)
    /// A host name, to be looked up now and then by a ``Resolver``.
    case name(host: String, port: UInt16)

    /// Reads `text` without asking a resolver. Port 0 is refused.
    public init(parsing text: String) throws(AddressSyntaxError) {
        if let address = try SocketAddress(unixText: text) {
            self = .address(address)
            return
        }
        let parts = try HostAndPort(parsing: text)
        guard parts.port != 0 else { throw AddressSyntaxError(text, .portZero) }
        if let address = parts.numericAddress {
            self = .address(address)
        } else {
            self = .name(host: parts.host, port: parts.port)
        }
    }
}

extension UpstreamAddress: CustomStringConvertible {
    /// The address in the form that ``init(parsing:)`` reads.
    public var description: String {
        switch self {
        case .address(let address): address.description
        case .name(let host, let port): "\(host):\(port)"
        }
    }
}
