import Transport

/// What a PROXY protocol header says about the connection that it opens (HAProxy's `proxy-protocol.txt`).
public enum ProxyHeader: Hashable, Sendable {
    /// The sender speaks for itself, such as for a health check; version 1 cannot say so and sends ``unknown``.
    case local
    /// A connection is passed on, but the header does not say whose; the addresses of the socket itself count.
    case unknown
    /// A connection from `source` to `destination` is passed on.
    case proxied(source: SocketAddress, destination: SocketAddress)

    /// The client's address, where the header gives one.
    public var source: SocketAddress? {
        guard case .proxied(let source, _) = self else { return nil }
        return source
    }

    /// The address that the client connected to, where the header gives one.
    public var destination: SocketAddress? {
        guard case .proxied(_, let destination) = self else { return nil }
        return destination
    }
}

/// The two forms of the header.
public enum ProxyVersion: Int, Hashable, Sendable, CaseIterable {
    /// A line of text.
    case v1 = 1
    /// A binary block.
    case v2 = 2
}

/// What the wire format fixes, for the encoder and the decoder.
enum ProxyWire {
    /// Version 1: the longest line in bytes, CR LF included.
    static let lineLengthMax = 107
    static let linePrefix = Array("PROXY ".utf8)

    /// Version 2: the twelve bytes that no other protocol begins with.
    static let signature: [UInt8] = [0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A]
    /// Version 2: signature, version and command, family and transport, length of the rest.
    static let fixedLength = 16
    /// Bytes of a path in a Unix-domain address block, zeros included.
    static let unixPathLength = 108

    enum Command: UInt8 {
        case local = 0
        case proxy = 1
    }

    enum Family: UInt8 {
        case unspecified = 0
        case ipv4 = 1
        case ipv6 = 2
        case unix = 3

        /// Length in bytes of both addresses and ports.
        var blockLength: Int {
            switch self {
            case .unspecified: 0
            case .ipv4: 12
            case .ipv6: 36
            case .unix: 2 * unixPathLength
            }
        }
    }

    enum SocketType: UInt8 {
        case unspecified = 0
        case stream = 1
        case datagram = 2
    }
}
