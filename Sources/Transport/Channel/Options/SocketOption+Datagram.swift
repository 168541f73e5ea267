import CSocket
import Glibc

// What a datagram socket tells of each datagram (ip(7), ipv6(7), udp(7)). On an IPv6 socket of IPv4-mapped senders too.

extension SocketOption where Value == Bool {
    /// IP_RECVTOS or IPV6_RECVTCLASS: fills ``DatagramHeader/trafficClass``.
    public static var tellsTrafficClass: Self {
        let onIPv6 = [(Int32(IPPROTO_IPV6), IPV6_RECVTCLASS), (Int32(IPPROTO_IP), IP_RECVTOS)]
        return Self("IP_RECVTOS", SocketOptionPlaces(IPPROTO_IP, IP_RECVTOS, onIPv6: onIPv6), .flag)
    }

    /// IP_PKTINFO or IPV6_RECVPKTINFO: fills ``DatagramHeader/destination``.
    public static var tellsDestination: Self { Self("IP_PKTINFO", .ip(IP_PKTINFO, v6: IPV6_RECVPKTINFO), .flag) }

    /// UDP_GRO (Linux 5.0): has the kernel join datagrams, as ``DatagramConfiguration/joinsReceived`` does from the start,
    /// and fills ``DatagramHeader/segmentSize``. Only for loops whose receive buffers hold what is joined: what they
    /// have no room for is lost.
    public static var joinsReceived: Self {
        Self("UDP_GRO", SocketOptionPlaces(IPPROTO_UDP, Int32(CSOCKET_UDP_GRO)), .flag)
    }
}
