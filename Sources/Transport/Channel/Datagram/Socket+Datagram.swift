import Glibc

extension Socket {
    /// A datagram socket of an address family (AF_INET, AF_INET6 or AF_UNIX), close-on-exec, in blocking mode, bound to
    /// nothing: the kernel binds a UDP socket to a free port at its first send.
    ///
    /// - Parameter protocol: as socket(2) has it, such as IPPROTO_ICMP (icmp(7)); 0 for UDP.
    /// - Throws: EAFNOSUPPORT, EPROTONOSUPPORT, EACCES, EMFILE, ENFILE, …
    public static func datagram(family: Int32, protocol: Int32 = 0) throws(SystemError) -> Int32 {
        let fd = socket(family, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), `protocol`)
        if fd < 0 { throw .last("socket") }
        return fd
    }

    /// A bound datagram socket, close-on-exec, in blocking mode. Port 0 has the kernel choose a free one. A Unix-domain
    /// path must not exist yet; an empty one has the kernel choose an abstract name (autobind, unix(7)).
    ///
    /// - Parameters:
    ///   - reuseAddress: let several sockets that all say so share the address (SO_REUSEADDR), each of them getting what
    ///     comes by multicast or broadcast. UDP only.
    ///   - reusePort: let several sockets that all say so share the address (SO_REUSEPORT), the kernel spreading what
    ///     comes among them by its sender. UDP only.
    ///   - isV6Only: whether an IPv6 wildcard takes no IPv4 (IPV6_V6ONLY); nil for the machine's default
    ///     (`net.ipv6.bindv6only`).
    /// - Throws: the failed call: `socket`, `setsockopt`, or `bind` (EADDRINUSE, EACCES, EADDRNOTAVAIL, ENAMETOOLONG).
    public static func datagram(
        boundTo address: SocketAddress, reuseAddress: Bool = false, reusePort: Bool = false, isV6Only: Bool? = nil
    ) throws(SystemError) -> Int32 {
        let fd = try datagram(family: address.family)
        do throws(SystemError) {
            if address.port != nil {
                if reuseAddress { try set(.reuseAddress, true, of: fd) }
                if reusePort { try set(.reusePort, true, of: fd) }
            }
            if let isV6Only, address.family == AF_INET6 { try set(.v6Only, isV6Only, of: fd) }
            if address == .unix(path: "") { try autobind(fd) } else { try bind(fd, to: address) }
            return fd
        } catch {
            close(fd)
            throw error
        }
    }

    /// Connects a datagram socket (connect(2)), again or for the first time. Nothing is sent, and nothing waited for.
    package static func connectDatagram(_ fd: Int32, to address: SocketAddress) throws(SystemError) {
        try address.check(for: "connect")
        if address.withSockaddr({ Glibc.connect(fd, $0, $1) }) < 0 { throw .last("connect") }
    }

    /// Has the kernel choose a name for a Unix-domain socket: an address of nothing but the family asks for one.
    private static func autobind(_ fd: Int32) throws(SystemError) {
        var address = sockaddr()
        address.sa_family = sa_family_t(AF_UNIX)
        if Glibc.bind(fd, &address, socklen_t(MemoryLayout<sa_family_t>.size)) < 0 { throw .last("bind") }
    }

    /// The file that a Unix-domain socket is bound to, or nil when it is none.
    static func boundPath(of fd: Int32) -> String? {
        guard case .unix(let path)? = localAddress(of: fd), !path.isEmpty, !path.hasPrefix("@") else { return nil }
        return path
    }

    /// A UDP socket bound to a port of every address: IPv6 and IPv4 (whose senders it shows by mapped addresses), or
    /// IPv4 where the machine has no IPv6. Port 0 has the kernel choose a free one.
    ///
    /// - Throws: as ``datagram(boundTo:reuseAddress:reusePort:isV6Only:)``.
    public static func datagram(port: UInt16) throws(SystemError) -> Int32 {
        do throws(SystemError) {
            return try datagram(boundTo: .ipv6(high: 0, low: 0, port: port, scope: 0), isV6Only: false)
        } catch  where error.code == EAFNOSUPPORT || error.code == EADDRNOTAVAIL {
            return try datagram(boundTo: .ipv4(0, port: port))
        }
    }
}
