import Glibc

// Options of IPv4 (ip(7)) and IPv6 sockets (ipv6(7)): one member for both, which finds the family itself.

extension SocketOption where Value == Int {
    /// IP_TOS or IPV6_TCLASS: the field of six bits DSCP and two bits ECN in what is sent, 0 to 255. The ECN bits of a
    /// TCP socket are the kernel's. On an IPv6 socket it holds for IPv4-mapped peers too.
    public static var typeOfService: Self {
        // Only IP_TOS counts for what an IPv6 socket sends to an IPv4-mapped address.
        let onIPv6 = [(Int32(IPPROTO_IPV6), IPV6_TCLASS), (Int32(IPPROTO_IP), IP_TOS)]
        return Self("IP_TOS", SocketOptionPlaces(IPPROTO_IP, IP_TOS, onIPv6: onIPv6), .int)
    }

    /// IP_TTL or IPV6_UNICAST_HOPS: routers that what is sent may pass, 1 to 255; -1 is the default of the system.
    public static var timeToLive: Self {
        let onIPv6 = [(Int32(IPPROTO_IPV6), IPV6_UNICAST_HOPS), (Int32(IPPROTO_IP), IP_TTL)]
        return Self("IP_TTL", SocketOptionPlaces(IPPROTO_IP, IP_TTL, onIPv6: onIPv6), .int)
    }

    /// IP_MULTICAST_TTL or IPV6_MULTICAST_HOPS: routers that multicast datagrams may pass, 0 to 255; 1 is the default.
    /// Datagram sockets only.
    public static var multicastTimeToLive: Self {
        Self("IP_MULTICAST_TTL", .ip(IP_MULTICAST_TTL, v6: IPV6_MULTICAST_HOPS), .int)
    }
}

extension SocketOption where Value == Bool {
    /// IP_FREEBIND or IPV6_FREEBIND (Linux 4.15): bind an address that this machine does not have, yet. Set before binding.
    public static var freeBind: Self { Self("IP_FREEBIND", .ip(IP_FREEBIND, v6: IPV6_FREEBIND), .flag) }

    /// IP_TRANSPARENT or IPV6_TRANSPARENT: act for foreign addresses, as a transparent proxy does. Set before binding. Needs
    /// CAP_NET_ADMIN or CAP_NET_RAW (EPERM without).
    public static var transparent: Self { Self("IP_TRANSPARENT", .ip(IP_TRANSPARENT, v6: IPV6_TRANSPARENT), .flag) }

    /// IP_BIND_ADDRESS_NO_PORT: binding with port 0 leaves the choice of the port to connecting, so that many connections
    /// to different peers can share one (Linux 4.2).
    public static var bindAddressNoPort: Self {
        Self("IP_BIND_ADDRESS_NO_PORT", SocketOptionPlaces(IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT), .flag)
    }

    /// IPV6_V6ONLY: an IPv6 socket bound to `::` leaves IPv4 to others. Set before binding; the default is
    /// `net.ipv6.bindv6only`.
    public static var v6Only: Self { Self("IPV6_V6ONLY", SocketOptionPlaces(IPPROTO_IPV6, IPV6_V6ONLY), .flag) }

    /// IP_MULTICAST_LOOP or IPV6_MULTICAST_LOOP: multicast datagrams that this socket sends come to members on this
    /// machine too; the default is true. Datagram sockets only.
    public static var multicastLoopback: Self {
        Self("IP_MULTICAST_LOOP", .ip(IP_MULTICAST_LOOP, v6: IPV6_MULTICAST_LOOP), .flag)
    }

    /// IP_MULTICAST_ALL or IPV6_MULTICAST_ALL (Linux 4.20): receive from groups that other sockets of this machine have joined;
    /// the default is true. Datagram sockets only.
    public static var multicastAll: Self {
        Self("IP_MULTICAST_ALL", .ip(IP_MULTICAST_ALL, v6: IPV6_MULTICAST_ALL), .flag)
    }
}
