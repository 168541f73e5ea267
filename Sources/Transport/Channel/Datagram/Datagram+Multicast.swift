import CSocket
import Glibc

/// An interface of this machine, for multicast.
public enum NetworkInterface: Hashable, Sendable {
    /// The one that the routing table leads to.
    case routed
    /// By index, such as the scope of a link-local IPv6 address.
    case index(UInt32)
    /// By name, such as `eth0`.
    case named(String)

    /// 0 for the routed one.
    ///
    /// - Throws: ENODEV when there is none of this name.
    func resolve() throws(SystemError) -> UInt32 {
        switch self {
        case .routed: return 0
        case .index(let index): return index
        case .named(let name):
            let index = if_nametoindex(name)
            if index == 0 { throw .last("if_nametoindex") }
            return index
        }
    }
}

/// Multicast (ip(7), ipv6(7)). Options: ``SocketOption/multicastTimeToLive``, ``SocketOption/multicastLoopback`` and
/// ``SocketOption/multicastAll``.
extension Datagram {
    /// Receives what is sent to `group` from now on, from `source` only if that is given. The socket must be bound to
    /// the port, and to the wildcard address or the group's.
    ///
    /// - Throws: EINVAL (no multicast address), ENODEV, EADDRINUSE (joined already), ENOBUFS (more groups than
    ///   `net.ipv4.igmp_max_memberships`), EAFNOSUPPORT.
    public func join(
        _ group: SocketAddress, source: SocketAddress? = nil, on interface: NetworkInterface = .routed
    ) throws(SystemError) {
        try setMembership(source == nil ? MCAST_JOIN_GROUP : MCAST_JOIN_SOURCE_GROUP, group, source, interface)
    }

    /// Takes a ``join(_:source:on:)`` with the same arguments back.
    ///
    /// - Throws: EADDRNOTAVAIL when it was not joined, and as `join` does.
    public func leave(
        _ group: SocketAddress, source: SocketAddress? = nil, on interface: NetworkInterface = .routed
    ) throws(SystemError) {
        try setMembership(source == nil ? MCAST_LEAVE_GROUP : MCAST_LEAVE_SOURCE_GROUP, group, source, interface)
    }

    private func setMembership(
        _ option: Int32, _ group: SocketAddress, _ source: SocketAddress?, _ interface: NetworkInterface
    ) throws(SystemError) {
        guard group.port != nil, source == nil || source?.family == group.family else {
            throw SystemError("setsockopt", code: EAFNOSUPPORT)
        }
        let level = Int32(group.family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP)
        let index = try interface.resolve()
        if let source {
            var request = group_source_req()
            request.gsr_interface = index
            _ = group.write(to: &request.gsr_group)
            _ = source.write(to: &request.gsr_source)
            try setOption(level, option, request)
        } else {
            var request = group_req()
            request.gr_interface = index
            _ = group.write(to: &request.gr_group)
            try setOption(level, option, request)
        }
    }

    /// Sends multicast datagrams out by this interface; `routed` leaves it to the routing table, as it is at first.
    ///
    /// - Throws: ENODEV or EADDRNOTAVAIL when there is no such interface.
    public func setMulticastInterface(_ interface: NetworkInterface) throws(SystemError) {
        let index = try interface.resolve()
        if family == AF_INET6 {
            try setOption(Int32(IPPROTO_IPV6), IPV6_MULTICAST_IF, index)
        } else {
            var request = ip_mreqn()
            request.imr_ifindex = Int32(bitPattern: index)
            try setOption(Int32(IPPROTO_IP), IP_MULTICAST_IF, request)
        }
    }

    private func setOption<Value: BitwiseCopyable>(
        _ level: Int32, _ option: Int32, _ value: Value
    ) throws(SystemError) {
        guard !isClosing else { throw SystemError("setsockopt", code: EBADF) }
        let result = withUnsafeBytes(of: value) {
            setsockopt(fd, level, option, $0.baseAddress, socklen_t($0.count))
        }
        if result < 0 { throw .last("setsockopt") }
    }
}
