import Glibc
import NIOCore
import RingmasterNIO
import Testing

import enum Transport.TransportKind

@testable import TransportTesting

private protocol InterfaceMembership {
    func join(_ channel: any MulticastChannel, _ group: NIOCore.SocketAddress, _ name: String) throws
        -> EventLoopFuture<Void>
    func leave(_ channel: any MulticastChannel, _ group: NIOCore.SocketAddress, _ name: String) throws
        -> EventLoopFuture<Void>
}

@Suite("Datagram channels: multicast", .timeLimit(.minutes(5)))
struct MulticastTests {
    /// Devices of this machine that can multicast, one of each family.
    private static let devices: [NIONetworkDevice] = {
        let all = (try? System.enumerateDevices()) ?? []
        let able = all.filter { $0.multicastSupported && $0.address != nil }
        return [NIOBSDSocket.ProtocolFamily.inet, .inet6].compactMap { family in
            able.first { $0.address?.protocol == family }
        }
    }()

    /// Of the devices that can multicast.
    private static let namesOfAble: Set<String> = Set(
        ((try? System.enumerateDevices()) ?? []).filter(\.multicastSupported).map(\.name))

    private static func group(_ device: NIONetworkDevice, port: Int) throws -> NIOCore.SocketAddress {
        // A group that no other test uses; of this machine only.
        let number = Int.random(in: 1..<0xffff)
        return device.address?.protocol == .inet
            ? try .init(ipAddress: "239.1.\(number >> 8).\(number & 255)", port: port)
            : try .init(ipAddress: "ff01::\(String(number, radix: 16))%\(device.name)", port: port)
    }

    @Test("a machine without a device for multicast", .enabled(if: devices.isEmpty, "shown by the other tests"))
    func leftOut() throws {
        try Test.cancel("left out: no device is up that can multicast")
    }

    /// How a test says on which device it joins.
    enum Way: CaseIterable {
        case device, interface, route
    }

    /// SwiftNIO's type for devices before `NIONetworkDevice`, which programs still use. Called through a protocol, where using
    /// what is deprecated draws no warning.
    private struct ByInterface: InterfaceMembership {
        @available(*, deprecated)
        func join(_ channel: any MulticastChannel, _ group: NIOCore.SocketAddress, _ name: String) throws
            -> EventLoopFuture<Void>
        { channel.joinGroup(group, interface: try Self.interface(name, group)) }

        @available(*, deprecated)
        func leave(_ channel: any MulticastChannel, _ group: NIOCore.SocketAddress, _ name: String) throws
            -> EventLoopFuture<Void>
        { channel.leaveGroup(group, interface: try Self.interface(name, group)) }

        @available(*, deprecated)
        private static func interface(_ name: String, _ group: NIOCore.SocketAddress) throws -> NIONetworkInterface {
            let all = try System.enumerateInterfaces()
            return try #require(all.first { $0.name == name && $0.address.protocol == group.protocol })
        }
    }

    /// A group, and how to become a member of it.
    private struct Membership {
        var channel: any MulticastChannel
        var group: NIOCore.SocketAddress
        var device: NIONetworkDevice
        var way: Way

        func join() throws -> EventLoopFuture<Void> {
            switch way {
            case .device: channel.joinGroup(group, device: device)
            case .interface: try (ByInterface() as any InterfaceMembership).join(channel, group, device.name)
            case .route: channel.joinGroup(group)
            }
        }

        func leave() throws -> EventLoopFuture<Void> {
            switch way {
            case .device: channel.leaveGroup(group, device: device)
            case .interface: try (ByInterface() as any InterfaceMembership).leave(channel, group, device.name)
            case .route: channel.leaveGroup(group)
            }
        }
    }

    @Test(
        "who has joined receives what is sent to the group, and who has left does not",
        arguments: across(TransportKind.here, devices, Way.allCases))
    func joinAndLeave(kind: TransportKind, device: NIONetworkDevice, way: Way) async throws {
        try await withRingGroup(kind) { group in
            let isV4 = device.address?.protocol == .inet
            let receiver = try await group.datagram(make: { $0.bind(host: isV4 ? "0.0.0.0" : "::", port: 0) })
            let sender = try await group.datagram(make: { $0.bind(host: isV4 ? "0.0.0.0" : "::", port: 0) })
            let channel = try #require(receiver.channel as? any MulticastChannel)
            let address = try Self.group(device, port: #require(channel.localAddress?.port))
            let own = try NIOCore.SocketAddress(
                ipAddress: isV4 ? "127.0.0.1" : "::1", port: #require(channel.localAddress?.port))
            let membership = Membership(channel: channel, group: address, device: device, way: way)

            let joined = try membership.join()
            // No route leads to the group: ENODEV (ip(7)).
            if way == .route, await errnoCode(joined) == ENODEV { return }
            try await joined.get()
            // A route may lead to another device than the one that is sent by.
            let isHeard = way != .route || Self.namesOfAble.count == 1
            if isHeard {
                try await Self.send(by: device, sender.channel)
                try await sender.send([1], to: address)
                #expect(try receiver.bytes(1) == [[1]])
            }
            #expect(try await errnoCode(membership.join()) == EADDRINUSE)

            try await membership.leave().get()
            try await sender.send([2], to: address)
            try await sender.send([3], to: own)
            #expect(try receiver.bytes(isHeard ? 2 : 1).last == [3] && receiver.envelopes.count == (isHeard ? 2 : 1))
            #expect(try await errnoCode(membership.leave()) == EADDRNOTAVAIL)
        }
    }

    private static func send(by device: NIONetworkDevice, _ channel: any Channel) async throws {
        let provider = try #require(channel as? any SocketOptionProvider)
        if device.address?.protocol == .inet {
            guard case .v4(let own)? = device.address else { return }
            try await provider.setIPMulticastIF(own.address.sin_addr).get()
        } else {
            try await provider.setIPv6MulticastIF(CUnsignedInt(device.interfaceIndex)).get()
        }
    }

    @Test("addresses that do not fit are refused", arguments: TransportKind.here)
    func refused(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let endpoint = try await group.datagram()
            let channel = try #require(endpoint.channel as? any MulticastChannel)
            let unicast = try NIOCore.SocketAddress(ipAddress: "127.0.0.1", port: 0)
            await #expect(throws: ChannelError.illegalMulticastAddress(unicast)) {
                try await channel.joinGroup(unicast).get()
            }
            let v6 = try NIOCore.SocketAddress(ipAddress: "ff01::1", port: 0)
            await #expect(throws: ChannelError.badMulticastGroupAddressFamily) { try await channel.joinGroup(v6).get() }
            let v4 = try NIOCore.SocketAddress(ipAddress: "239.0.0.1", port: 0)
            if let device = Self.devices.first(where: { $0.address?.protocol == .inet6 }) {
                await #expect(throws: ChannelError.badInterfaceAddressFamily) {
                    try await channel.joinGroup(v4, device: device).get()
                }
            }
            if let loopback = try System.enumerateDevices().first(where: { !$0.multicastSupported }) {
                await #expect(throws: NIOMulticastNotSupportedError.self) {
                    try await channel.joinGroup(v4, device: loopback).get()
                }
            }
            try await endpoint.close()
            await #expect(throws: ChannelError.inappropriateOperationForState) {
                try await channel.leaveGroup(v4).get()
            }
        }
    }
}
