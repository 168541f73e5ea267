import Transport

/// The addresses that connections come from, in turn: each has its own ports towards a server, about 28,000 of them
/// (net.ipv4.ip_local_port_range).
struct SourceRange: Equatable {
    /// Connections that one address is given at most when ringload chooses the addresses by itself: far fewer than it has ports,
    /// since the kernel looks longer for a free one the more are taken (measured: 20 µs each with 2,000 taken, 250 µs with
    /// 20,000).
    static let connectionsPerAddress = 4000
    /// Up to so many connections the kernel chooses the address.
    static let plainConnectionsMax = 8000
    /// Addresses of a run whose number of connections is not known beforehand: churn leaves ports in TIME_WAIT.
    static let churnAddresses = 16
    /// More than any run needs; 127.0.0.0/8 has them.
    static let countMax = 65_536

    private enum Kind: Equatable {
        case ipv4(first: UInt32)
        case one(SocketAddress)
    }

    private let kind: Kind
    let count: Int

    private init(_ kind: Kind, count: Int) {
        self.kind = kind
        self.count = count
    }

    /// `127.0.0.2` or `127.0.0.2-127.0.0.9`; one IPv6 address. nil when it is neither, or too long a range.
    init?(parsing text: String) {
        let ends = text.split(separator: "-", omittingEmptySubsequences: false).map(String.init)
        guard (1...2).contains(ends.count), let first = SocketAddress(numericHost: ends[0], port: 0),
            let last = SocketAddress(numericHost: ends[ends.count - 1], port: 0)
        else { return nil }
        switch (first, last) {
        case (.ipv4(let low, _), .ipv4(let high, _)):
            guard low <= high, high - low < Self.countMax else { return nil }
            self.init(.ipv4(first: low), count: Int(high - low) + 1)
        case (.ipv6, .ipv6) where ends.count == 1:
            self.init(.one(first), count: 1)
        default:
            return nil
        }
    }

    /// The addresses that ringload takes by itself: none (the kernel chooses) unless the target is on IPv4's loopback
    /// and one address is not enough.
    static func automatic(for target: SocketAddress, connections: Int, isChurn: Bool) -> SourceRange? {
        guard case .ipv4(let host, _) = target, host >> 24 == 127 else { return nil }
        let needed =
            connections <= plainConnectionsMax ? 1 : (connections + connectionsPerAddress - 1) / connectionsPerAddress
        let count = isChurn ? max(needed, churnAddresses) : needed
        return count > 1 ? SourceRange(.ipv4(first: 0x7f00_0001), count: count) : nil
    }

    /// The address for connection `index`, with port 0.
    func address(_ index: Int) -> SocketAddress {
        switch kind {
        case .ipv4(let first): .ipv4(first + UInt32(index % count), port: 0)
        case .one(let address): address
        }
    }

    /// Of the addresses' family.
    var family: Int32 { address(0).family }
}
