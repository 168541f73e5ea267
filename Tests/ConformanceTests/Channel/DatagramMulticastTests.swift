import Foundation
import Testing

@testable import Transport
@testable import TransportTesting

/// An interface for multicast that stays on this machine, and an address to send from.
struct MulticastPlace: Sendable, CustomTestStringConvertible {
    let name: String
    let index: UInt32
    /// Port 0.
    let address: SocketAddress

    var isV6: Bool { address.family == AF_INET6 }
    var testDescription: String { "\(name), \(address.host)" }
    /// Every address of the family, any port.
    var any: SocketAddress { isV6 ? .ipv6(high: 0, low: 0, port: 0, scope: 0) : .ipv4(0, port: 0) }

    static let v4 = MulticastPlace(name: "lo", index: if_nametoindex("lo"), address: .anyLoopback)

    /// IPv6 has no multicast route over the loopback interface: another one is needed, which nothing leaves by when a
    /// datagram has no hops. Nil when this machine has none.
    static let v6: MulticastPlace? = {
        var list: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&list) == 0 else { return nil }
        defer { freeifaddrs(list) }
        for entry in sequence(first: list, next: { $0?.pointee.ifa_next }) {
            guard let entry = entry?.pointee, let raw = entry.ifa_addr else { continue }
            let flags = Int32(entry.ifa_flags)
            guard flags & Int32(IFF_UP) != 0, flags & Int32(IFF_MULTICAST) != 0 else { continue }
            guard raw.pointee.sa_family == AF_INET6 else { continue }
            guard let address = SocketAddress(raw, length: socklen_t(MemoryLayout<sockaddr_in6>.size)) else { continue }
            let name = String(cString: entry.ifa_name)
            return MulticastPlace(name: name, index: if_nametoindex(name), address: address.withPort(0))
        }
        return nil
    }()

    static let all = [v4, v6].compactMap { $0 }

    /// A group that no other test uses.
    func group(port: UInt16?) -> SocketAddress {
        let number = UInt32.random(in: 1..<0xff_ffff)
        guard isV6 else { return .ipv4(0xef00_0000 | number, port: port ?? 0) }
        // ff01::/16 is for one interface.
        return .ipv6(high: 0xff01 << 48, low: UInt64(number), port: port ?? 0, scope: index)
    }
}

@Suite("Datagrams: multicast and broadcast")
struct DatagramMulticastTests {
    private static let cases = across(TransportMode.available, MulticastPlace.all)

    @Test(
        "IPv6 multicast is shown where there is an interface for it",
        .enabled(if: MulticastPlace.v6 == nil, "shown by the other tests"), arguments: TransportMode.available)
    func leftOut(mode: TransportMode) throws {
        try Test.cancel("left out: no interface is up that has IPv6 and multicast")
    }

    private static func sender(_ mode: TransportMode, _ place: MulticastPlace) throws -> TestDatagram {
        let sender = try TestDatagram(mode, place.address)
        try sender.on { sender in
            #expect(throws: Never.self) {
                try sender.setMulticastInterface(.named(place.name))
                try sender.set(.multicastTimeToLive, 0)
            }
        }
        return sender
    }

    @Test(
        "a member gets what is sent to the group, until it leaves (netty 65)",
        arguments: across(TransportMode.available, MulticastPlace.all, [false, true]))
    func membership(mode: TransportMode, place: MulticastPlace, byIndex: Bool) throws {
        let interface: NetworkInterface = byIndex ? .index(place.index) : .named(place.name)
        let member = try TestDatagram(mode, place.any)
        let sender = try Self.sender(mode, place)
        let group = place.group(port: member.address.port)
        try member.on { member in
            #expect(throws: Never.self) { try member.join(group, on: interface) }
            #expect(throws: SystemError("setsockopt", code: EADDRINUSE)) { try member.join(group, on: interface) }
        }
        try sender.on { _ = $0.send([1], to: group) }
        #expect(try member.recorder.waitForDatagrams(1) == [[1]])
        try member.on { member in
            #expect(throws: Never.self) { try member.leave(group, on: interface) }
            #expect(throws: SystemError("setsockopt", code: EADDRNOTAVAIL)) { try member.leave(group, on: interface) }
        }
        try sender.on { sender in
            sender.send([2], to: group)
            sender.send([3], to: place.address.withPort(member.address.port ?? 0))
        }
        #expect(try member.recorder.waitForDatagrams(2) == [[1], [3]])
        try sender.join()
        try member.join()
    }

    @Test("a member for one source gets nothing from others", arguments: cases)
    func source(mode: TransportMode, place: MulticastPlace) throws {
        let member = try TestDatagram(mode, place.any)
        let sender = try Self.sender(mode, place)
        let port = member.address.port
        let wanted = place.group(port: port)
        let other = place.group(port: port)
        let stranger: SocketAddress =
            !place.isV6 ? .ipv4(0x7f00_0009, port: 0) : .ipv6(high: 0xfd00 << 48, low: 9, port: 0, scope: 0)
        try member.on { member in
            #expect(throws: Never.self) {
                try member.join(wanted, source: sender.address, on: .named(place.name))
                try member.join(other, source: stranger, on: .named(place.name))
            }
        }
        try sender.on { sender in
            sender.send([1], to: other)
            sender.send([2], to: wanted)
        }
        #expect(try member.recorder.waitForDatagrams(1) == [[2]])
        try member.on { member in
            #expect(throws: Never.self) { try member.leave(other, source: stranger, on: .named(place.name)) }
        }
        try sender.join()
        try member.join()
    }

    @Test("the options of multicast are what they were set to", arguments: cases)
    func options(mode: TransportMode, place: MulticastPlace) throws {
        let sender = try Self.sender(mode, place)
        try sender.on { sender in
            #expect(throws: Never.self) {
                #expect(try sender.get(.multicastTimeToLive) == 0)
                #expect(try sender.get(.multicastLoopback))
                try sender.set(.multicastLoopback, false)
                #expect(try !sender.get(.multicastLoopback))
            }
        }
        try sender.join()
    }

    @Test("what is no group, and an interface that is not there, are refused", arguments: TransportMode.available)
    func refused(mode: TransportMode) throws {
        let channel = try TestDatagram(mode, MulticastPlace.v4.any)
        try channel.on { channel in
            #expect(throws: SystemError("setsockopt", code: EINVAL)) { try channel.join(.ipv4(0x7f00_0001, port: 0)) }
            #expect(throws: SystemError("setsockopt", code: EAFNOSUPPORT)) { try channel.join(.unix(path: "/tmp/x")) }
            #expect(throws: SystemError("if_nametoindex", code: ENODEV)) {
                try channel.join(MulticastPlace.v4.group(port: 9), on: .named("none-such"))
            }
            #expect(throws: SystemError("setsockopt", code: ENODEV)) {
                try channel.join(MulticastPlace.v4.group(port: 9), on: .index(0x7fff_0000))
            }
        }
        try channel.join()
    }

    @Test(
        "broadcast is refused until it is allowed, then reaches who is bound to the port (netty 65)",
        arguments: TransportMode.available)
    func broadcast(mode: TransportMode) throws {
        let receiver = try TestDatagram(mode, MulticastPlace.v4.any)
        let sender = try TestDatagram(mode)
        // The loopback network's own: 127.255.255.255.
        let address = SocketAddress.ipv4(0x7fff_ffff, port: try #require(receiver.address.port))
        try sender.on { _ = $0.send([1], to: address) }
        #expect(try sender.recorder.waitForErrors() == [SystemError("sendmmsg", code: EACCES)])
        try sender.on { sender in
            #expect(throws: Never.self) { try sender.set(.broadcast, true) }
            sender.send([2], to: address)
        }
        #expect(try receiver.recorder.waitForDatagrams(1) == [[2]])
        try sender.join()
        try receiver.join()
    }

    @Test("members that share a port by SO_REUSEADDR all get what is sent to their group", arguments: cases)
    func sharedPort(mode: TransportMode, place: MulticastPlace) throws {
        let first = try TestDatagram(mode, fd: Socket.datagram(boundTo: place.any, reuseAddress: true))
        let second = try TestDatagram(mode, fd: Socket.datagram(boundTo: first.address, reuseAddress: true))
        let sender = try Self.sender(mode, place)
        let group = place.group(port: first.address.port)
        for member in [first, second] {
            try member.on { member in #expect(throws: Never.self) { try member.join(group, on: .named(place.name)) } }
        }
        try sender.on { _ = $0.send([1], to: group) }
        for member in [first, second] { #expect(try member.recorder.waitForDatagrams(1) == [[1]]) }
        for channel in [sender, first, second] { try channel.join() }
    }
}
