import CSocket
import Glibc

/// The control messages (cmsg(3)) of a received datagram. Reads only what lies within the bytes it was given, and stops at
/// the first that is not as it should be.
struct ReceivedControl {
    /// The size of the datagrams that the kernel joined (UDP_GRO, udp(7)), the last of which may be shorter.
    private(set) var joinedSize: Int?
    /// The type of service or traffic class.
    private(set) var trafficClass: UInt8?
    /// Where it was sent to.
    private(set) var destination: DatagramDestination?

    /// Bytes of a control message's head: its length with the head (8 bytes), level, type. Data follows, up to the next
    /// multiple of 8.
    private static let headSize = 16

    init(_ bytes: UnsafeRawBufferPointer) {
        var rest = bytes
        while rest.count >= Self.headSize {
            let length = rest.loadUnaligned(as: UInt64.self)
            guard length >= Self.headSize, length <= rest.count else { return }
            let level = rest.loadUnaligned(fromByteOffset: 8, as: Int32.self)
            let type = rest.loadUnaligned(fromByteOffset: 12, as: Int32.self)
            take(level, type, UnsafeRawBufferPointer(rebasing: rest[Self.headSize..<Int(length)]))
            rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst((Int(length) + 7) & ~7))
        }
    }

    private mutating func take(_ level: Int32, _ type: Int32, _ data: UnsafeRawBufferPointer) {
        switch (Int(level), type) {
        case (IPPROTO_UDP, Int32(CSOCKET_UDP_GRO)) where data.count >= 4:
            joinedSize = Int(data.loadUnaligned(as: Int32.self))
        case (IPPROTO_IP, IP_TOS) where data.count >= 1:
            // A byte, for all that the option is an int.
            trafficClass = data[0]
        case (IPPROTO_IPV6, IPV6_TCLASS) where data.count >= 4:
            trafficClass = UInt8(truncatingIfNeeded: data.loadUnaligned(as: Int32.self))
        case (IPPROTO_IP, IP_PKTINFO) where data.count >= 12:
            // struct in_pktinfo: interface, address of this machine, address in the head.
            let host = UInt32(bigEndian: data.loadUnaligned(fromByteOffset: 8, as: UInt32.self))
            destination = DatagramDestination(
                address: .ipv4(host, port: 0), interface: data.loadUnaligned(as: UInt32.self))
        case (IPPROTO_IPV6, IPV6_PKTINFO) where data.count >= 20:
            // struct in6_pktinfo: address in the head, interface.
            let high = UInt64(bigEndian: data.loadUnaligned(as: UInt64.self))
            let low = UInt64(bigEndian: data.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
            destination = DatagramDestination(
                address: .ipv6(high: high, low: low, port: 0, scope: 0),
                interface: data.loadUnaligned(fromByteOffset: 16, as: UInt32.self))
        default:
            break
        }
    }
}
