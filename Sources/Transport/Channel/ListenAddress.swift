/// Where to listen, as a user writes it: `HOST:PORT`, `[IPV6]:PORT` or `unix:/path`.
///
/// `0.0.0.0:PORT` is every IPv4 address, `[::]:PORT` every IPv6 one; port 0 has the kernel choose a free port.
public enum ListenAddress: Hashable, Sendable {
    /// A numeric address or a Unix-domain path.
    case address(SocketAddress)
    /// A host name, still to be looked up.
    case name(host: String, port: UInt16)

    /// Reads `text` without asking a resolver.
    public init(parsing text: String) throws(AddressSyntaxError) {
        if let address = try SocketAddress(unixText: text) {
            self = .address(address)
            return
        }
        let parts = try HostAndPort(parsing: text)
        if let address = parts.numericAddress {
            self = .address(address)
        } else {
            self = .name(host: parts.host, port: parts.port)
        }
    }

    /// The addresses to listen on: one, or each that the name has.
    ///
    /// Blocks while a name is looked up: for start-up, before there is a loop.
    public func resolve() throws(HostLookupError) -> [SocketAddress] {
        switch self {
        case .address(let address): [address]
        case .name(let host, let port): try HostLookup.addresses(of: host, port: port)
        }
    }
}

extension ListenAddress: CustomStringConvertible {
    /// The address in the form that ``init(parsing:)`` reads.
    public var description: String {
        switch self {
        case .address(let address): address.description
        case .name(let host, let port): "\(host):\(port)"
        }
    }
}
