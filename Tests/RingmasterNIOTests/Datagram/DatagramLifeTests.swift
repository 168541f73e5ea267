import Glibc
import NIOCore
import NIOPosix
import RingmasterNIO
import Testing

import enum Transport.TransportKind

@testable import TransportTesting

@Suite("Datagram channels: life and options", .timeLimit(.minutes(5)))
struct DatagramLifeTests {
    @Test("active when bound, inactive when closed, and again only by itself", arguments: TransportKind.withFamilies)
    func life(kind: TransportKind, family: AddressFamily) async throws {
        try await withRingGroup(kind) { group in
            let endpoint = try await group.datagram(family)
            let channel = endpoint.channel
            #expect(channel.isActive && channel.isWritable && channel.remoteAddress == nil && channel.parent == nil)
            #expect(family == .unix || channel.localAddress?.port ?? 0 > 0)
            await #expect(throws: ChannelError.inappropriateOperationForState) {
                try await channel.bind(to: family.nioAddress()).get()
            }
            await #expect(throws: ChannelError.operationUnsupported) { try await channel.close(mode: .input).get() }
            await #expect(throws: ChannelError.operationUnsupported) { try await channel.close(mode: .output).get() }
            #expect(channel.isActive)
            try await endpoint.close()
            try await channel.closeFuture.get()
            #expect(!channel.isActive)
            let events = endpoint.recorder.events.all
            guard events.count == 2, case .active = events[0], case .inactive = events[1] else {
                _ = Issue.record("\(events)")
                return
            }
            await #expect(throws: ChannelError.alreadyClosed) { try await channel.close().get() }
        }
    }

    @Test("the end of the group closes it", arguments: TransportKind.here)
    func groupEnds(kind: TransportKind) async throws {
        let endpoint = try await withRingGroup(kind) { group in try await group.datagram() }
        #expect(!endpoint.channel.isActive)
        guard case .inactive? = endpoint.recorder.events.all.last else {
            _ = Issue.record("not told")
            return
        }
    }

    @Test("a socket of the caller's is taken over, bound or connected", arguments: TransportKind.here)
    func adopted(kind: TransportKind) async throws {
        let peer = try DatagramPeer()
        try await withRingGroup(kind) { group in
            let fd = socket(AF_INET, Int32(SOCK_DGRAM.rawValue | SOCK_NONBLOCK.rawValue), 0)
            #expect(peer.address.withSockaddr { connect(fd, $0, $1) } == 0)
            let endpoint = try await group.datagram(make: { $0.withBoundSocket(fd) })
            #expect(endpoint.channel.remoteAddress?.port.map(UInt16.init) == peer.address.port)
            try await endpoint.channel.writeAndFlush(ByteBuffer(bytes: [1, 2])).get()
            let (bytes, sender) = try peer.receiveWithSender()
            #expect(bytes == [1, 2] && sender?.port == endpoint.channel.localAddress?.port.map(UInt16.init))
            try peer.send([3], to: try #require(sender))
            #expect(try endpoint.bytes(1) == [[3]])
        }
    }

    @Test("options are kept, and refused when the channel is closed", arguments: TransportKind.here)
    func options(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let endpoint = try await group.datagram()
            let channel = endpoint.channel
            func keeps<Option: ChannelOption>(_ option: Option, _ values: Option.Value...) async throws
            where Option.Value: Equatable {
                for value in values {
                    try await channel.setOption(option, value: value).get()
                    #expect(try await channel.getOption(option).get() == value)
                }
            }
            try await keeps(.explicitCongestionNotification, true, false)
            try await keeps(.receivePacketInfo, true, false)
            try await keeps(.datagramReceiveSegmentSize, true, false)
            try await keeps(.datagramSegmentSize, 1200, 0)
            try await keeps(.datagramVectorReadMessageCount, 30)
            try await keeps(.maxMessagesPerRead, 7)
            try await keeps(.autoRead, false, true)
            try await keeps(.socketOption(.so_reuseaddr), 1)
            try await keeps(.socketOption(.so_broadcast), 1)
            try await channel.setOption(.writeBufferWaterMark, value: .init(low: 3, high: 5)).get()
            #expect(try await channel.getOption(.writeBufferWaterMark).get().high == 5)
            try await endpoint.close()
            await #expect(throws: ChannelError.ioOnClosedChannel) {
                try await channel.setOption(.maxMessagesPerRead, value: 1).get()
            }
            await #expect(throws: ChannelError.ioOnClosedChannel) {
                _ = try await channel.getOption(.datagramSegmentSize).get()
            }
        }
    }

    @Test("a Unix-domain socket has nothing of IP to tell", arguments: TransportKind.here)
    func unixOptions(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let endpoint = try await group.datagram(.unix)
            await #expect(throws: ChannelError.operationUnsupported) {
                try await endpoint.channel.setOption(.receivePacketInfo, value: true).get()
            }
            await #expect(throws: ChannelError.operationUnsupported) {
                _ = try await endpoint.channel.getOption(.explicitCongestionNotification).get()
            }
            try await endpoint.close()
        }
    }

    @Test("an outbound event that nobody takes fails", arguments: TransportKind.here)
    func event(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let channel = try await group.datagram().channel
            await #expect(throws: ChannelError.operationUnsupported) {
                try await channel.triggerUserOutboundEvent("event").get()
            }
        }
    }

    @Test("an echo request goes out and is answered, where this user may send one", arguments: TransportKind.here)
    func ping(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let endpoint: Endpoint
            do {
                endpoint = try await group.datagram { $0.protocolSubtype(Int32(IPPROTO_ICMP)) }
            } catch let error as IOError where error.errnoCode == EACCES {
                try Test.cancel("net.ipv4.ping_group_range leaves this user out")
            }
            // Type 8, code 0, checksum and identifier (the kernel's), number 1.
            let request: [UInt8] = [8, 0, 0, 0, 0, 0, 0, 1] + Array("hello".utf8)
            try await endpoint.send(request, to: .init(ipAddress: "127.0.0.1", port: 0))
            let answer = try endpoint.bytes(1)[0]
            #expect(answer[0] == 0 && Array(answer[7...]) == Array(request[7...]))
        }
    }
}
