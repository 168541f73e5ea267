import Glibc

/// The address of a stream socket: IPv4, IPv6 or a Unix-domain path.
public enum SocketAddress: Hashable, Sendable, Codable {
    /// An IPv4 address in host byte order (127.0.0.1 is `0x7f00_0001`) and a port.
    case ipv4(UInt32, port: UInt16)
    /// An IPv6 address as its two halves in host byte order (::1 is `0, 1`), a port and a scope (interface index, 0: none).
    case ipv6(high: UInt64, low: UInt64, port: UInt16, scope: UInt32)
    /// A Unix-domain socket by path; empty for an unnamed one, such as most clients have.
    case unix(path: String)

    /// The longest Unix-domain path in bytes: `sun_path` less its terminating zero (unix(7)).
    public static let unixPathLengthMax = 107

    /// The port, or nil for a Unix-domain socket.
    public var port: UInt16? {
        switch self {
        case .ipv4(_, let port), .ipv6(_, _, let port, _): port
        case .unix: nil
        }
    }

    /// The address family for socket(2).
    public var family: Int32 {
        switch self {
        case .ipv4: AF_INET
        case .ipv6: AF_INET6
        case .unix: AF_UNIX
        }
    }

    /// A numeric IPv4 or IPv6 address (`127.0.0.1`, `::1`, `fe80::1%eth0`), or nil when `host` is none. Never asks a resolver.
    public init?(numericHost host: String, port: UInt16) {
        var hints = addrinfo()
        hints.ai_flags = AI_NUMERICHOST
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, nil, &hints, &list) == 0, let first = list else { return nil }
        defer { freeaddrinfo(list) }
        guard let address = SocketAddress(first.pointee.ai_addr, length: first.pointee.ai_addrlen) else { return nil }
        self = address.withPort(port)
    }

    /// Reads a kernel `sockaddr`; nil for another family than AF_INET, AF_INET6 or AF_UNIX, or one that is cut short.
    public init?(_ address: UnsafePointer<sockaddr>, length: socklen_t) {
        let raw = UnsafeRawPointer(address)
        guard length >= socklen_t(MemoryLayout<sa_family_t>.size) else { return nil }
        switch Int32(address.pointee.sa_family) {
        case AF_INET:
            guard length >= socklen_t(MemoryLayout<sockaddr_in>.size) else { return nil }
            let v4 = raw.loadUnaligned(as: sockaddr_in.self)
            self = .ipv4(UInt32(bigEndian: v4.sin_addr.s_addr), port: UInt16(bigEndian: v4.sin_port))
        case AF_INET6:
            guard length >= socklen_t(MemoryLayout<sockaddr_in6>.size) else { return nil }
            let v6 = raw.loadUnaligned(as: sockaddr_in6.self)
            let (high, low) = withUnsafeBytes(of: v6.sin6_addr) {
                ($0.loadUnaligned(as: UInt64.self), $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
            }
            self = .ipv6(
                high: UInt64(bigEndian: high), low: UInt64(bigEndian: low),
                port: UInt16(bigEndian: v6.sin6_port), scope: v6.sin6_scope_id)
        case AF_UNIX:
            let offset = MemoryLayout<sa_family_t>.size
            let bytes = UnsafeRawBufferPointer(start: raw + offset, count: Int(length) - offset)
            // An abstract name begins with a zero byte; it is shown the way ss(8) shows it.
            let isAbstract = bytes.count > 1 && bytes[0] == 0
            let name = isAbstract ? bytes.dropFirst() : bytes.prefix { $0 != 0 }
            var path = (isAbstract ? "@" : "") + String(decoding: name, as: UTF8.self)
            // A peer may have an abstract name of 108 bytes, or one that grows when it is made valid UTF-8.
            while path.utf8.count > Self.unixPathLengthMax { path.removeLast() }
            self = .unix(path: path)
        default:
            return nil
        }
    }

    /// The same host with another port; a Unix-domain address is unchanged.
    public func withPort(_ port: UInt16) -> SocketAddress {
        switch self {
        case .ipv4(let host, _): .ipv4(host, port: port)
        case .ipv6(let high, let low, _, let scope): .ipv6(high: high, low: low, port: port, scope: scope)
        case .unix: self
        }
    }

    /// Calls `body` with this address as the kernel wants it, valid during the call.
    ///
    /// - Precondition: a Unix-domain path has at most ``unixPathLengthMax`` bytes.
    public func withSockaddr<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        var storage = sockaddr_storage()
        let length = write(to: &storage)
        return withUnsafePointer(to: &storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, length) }
        }
    }

    /// Refuses a Unix-domain path that a call would not take as it stands: ENAMETOOLONG when it has more than
    /// ``unixPathLengthMax`` bytes; EINVAL when it is empty, or has a zero byte at which the kernel would cut it off.
    func check(for call: String) throws(SystemError) {
        guard case .unix(let path) = self else { return }
        if path.utf8.count > Self.unixPathLengthMax { throw SystemError(call, code: ENAMETOOLONG) }
        let isAbstract = path.utf8.first == UInt8(ascii: "@")
        if path.isEmpty || (!isAbstract && path.utf8.contains(0)) { throw SystemError(call, code: EINVAL) }
    }

    /// Writes this address into `storage` and returns how many bytes of it count.
    func write(to storage: inout sockaddr_storage) -> socklen_t {
        withUnsafeMutableBytes(of: &storage) { raw in
            switch self {
            case .ipv4(let host, let port):
                var v4 = sockaddr_in()
                v4.sin_family = sa_family_t(AF_INET)
                v4.sin_port = port.bigEndian
                v4.sin_addr.s_addr = host.bigEndian
                raw.storeBytes(of: v4, as: sockaddr_in.self)
                return socklen_t(MemoryLayout<sockaddr_in>.size)
            case .ipv6(let high, let low, let port, let scope):
                var v6 = sockaddr_in6()
                v6.sin6_family = sa_family_t(AF_INET6)
                v6.sin6_port = port.bigEndian
                v6.sin6_scope_id = scope
                withUnsafeMutableBytes(of: &v6.sin6_addr) {
                    $0.storeBytes(of: high.bigEndian, as: UInt64.self)
                    $0.storeBytes(of: low.bigEndian, toByteOffset: 8, as: UInt64.self)
                }
                raw.storeBytes(of: v6, as: sockaddr_in6.self)
                return socklen_t(MemoryLayout<sockaddr_in6>.size)
            case .unix(let path):
                precondition(path.utf8.count <= Self.unixPathLengthMax, "the Unix-domain path is too long")
                let offset = MemoryLayout<sa_family_t>.size
                raw.storeBytes(of: sa_family_t(AF_UNIX), as: sa_family_t.self)
                var end = offset
                for byte in path.utf8 {
                    raw[end] = byte
                    end += 1
                }
                // A leading "@" stands for the abstract namespace, as in ss(8), whose names have no terminator.
                if path.utf8.first == UInt8(ascii: "@") {
                    raw[offset] = 0
                    return socklen_t(end)
                }
                return socklen_t(end + 1)
            }
        }
    }
}

extension SocketAddress: CustomStringConvertible {
    /// `127.0.0.1:80`, `[::1]:80` or `unix:/path`.
    public var description: String {
        switch self {
        case .unix(let path): return "unix:\(path)"
        case .ipv4(_, let port): return "\(host):\(port)"
        case .ipv6(_, _, let port, _): return "[\(host)]:\(port)"
        }
    }

    /// The numeric host without a port (`127.0.0.1`, `::1`), or the path.
    public var host: String {
        if case .unix(let path) = self { return path }
        return withSockaddr { address, length in
            withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(NI_MAXHOST)) { buffer in
                buffer.initialize(repeating: 0)
                getnameinfo(address, length, buffer.baseAddress, socklen_t(buffer.count), nil, 0, NI_NUMERICHOST)
                return String(cString: buffer.baseAddress!)
            }
        }
    }
}
