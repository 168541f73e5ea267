import NIOCore
import RingmasterNIO
import Testing

import enum Transport.TransportKind

@testable import TransportTesting

@Suite("Datagram channels: reading", .timeLimit(.minutes(5)))
struct DatagramReadTests {
    @Test("each datagram is read with its sender, an empty one too, in order", arguments: TransportKind.withFamilies)
    func echo(kind: TransportKind, family: AddressFamily) async throws {
        try await withRingGroup(kind, count: 2) { group in
            let (first, second) = (try await group.datagram(family), try await group.datagram(family))
            let sent: [[UInt8]] = [[1, 2, 3], [], pattern(9000)]
            for bytes in sent { try await first.send(bytes, to: second.address) }
            #expect(try second.bytes(3) == sent)
            let sender = try first.address
            #expect(second.envelopes.allSatisfy { $0.remoteAddress == sender && $0.metadata == nil })
            try await second.send([7], to: sender)
            #expect(try first.bytes(1) == [[7]])
            try await first.close()
            try await second.close()
        }
    }

    @Test("a Unix-domain sender without a name has an empty path", arguments: TransportKind.here)
    func unnamed(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let receiver = try await group.datagram(.unix)
            let sender = try await group.datagram(make: { $0.connect(to: try receiver.address) })
            try await sender.channel.writeAndFlush(ByteBuffer(bytes: [1]))
            #expect(try receiver.wait(for: 1)[0].remoteAddress.pathname == "")
            try await receiver.close()
        }
    }

    @Test("without autoRead, each read() has one datagram, and none overtakes another", arguments: TransportKind.here)
    func onDemand(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let sender = try await group.datagram()
            let receiver = try await group.datagram {
                $0.channelOption(.autoRead, value: false).channelOption(.maxMessagesPerRead, value: 1)
            }
            for number in 0..<10 { try await sender.send([UInt8(number)], to: receiver.address) }
            for number in 0..<10 {
                try await receiver.channel.eventLoop.submit {}.get()
                #expect(receiver.envelopes.count == number, "not asked for")
                receiver.channel.read()
                #expect(try receiver.bytes(number + 1).last == [UInt8(number)])
            }
            #expect(receiver.bursts == Array(repeating: 1, count: 10))
        }
    }

    @Test("one that came while nobody had asked is read before newer ones", arguments: TransportKind.here)
    func parked(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let (sender, receiver) = (try await group.datagram(), try await group.datagram())
            try await sender.send([0], to: receiver.address)
            try receiver.wait(for: 1)
            // The receive is under way already: what comes is parked.
            try await receiver.channel.setOption(.autoRead, value: false).get()
            for number in 1..<20 { try await sender.send([UInt8(number)], to: receiver.address) }
            try await receiver.channel.eventLoop.submit {}.get()
            #expect(receiver.envelopes.count <= 2, "one may have been asked for before")
            try await receiver.channel.setOption(.autoRead, value: true).get()
            #expect(try receiver.bytes(20) == (0..<20).map { [UInt8($0)] })
        }
    }

    @Test("a burst has maxMessagesPerRead datagrams at most", arguments: TransportKind.here)
    func bursts(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let sender = try await group.datagram()
            let receiver = try await group.datagram {
                $0.channelOption(.autoRead, value: false).channelOption(.maxMessagesPerRead, value: 3)
            }
            for number in 0..<10 { try await sender.send([UInt8(number)], to: receiver.address) }
            try await receiver.channel.setOption(.autoRead, value: true).get()
            #expect(try receiver.bytes(10) == (0..<10).map { [UInt8($0)] })
            try receiver.recorder.events.wait { if case .readComplete? = $0.last { true } else { false } }
            #expect(receiver.bursts.allSatisfy { $0 <= 3 } && receiver.bursts.contains { $0 > 1 })
        }
    }

    @Test("one that is longer than a receive buffer is cut to it", arguments: TransportKind.here)
    func truncated(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let (sender, receiver) = (try await group.datagram(), try await group.datagram())
            let bytes = pattern(40_000)
            try await sender.send(bytes, to: receiver.address)
            try await sender.send([9], to: receiver.address)
            let received = try receiver.bytes(2)
            #expect(received[0].count > 16_000 && received[0].count < 16 * 1024)
            #expect(bytes.starts(with: received[0]) && received[1] == [9])
        }
    }

    // MARK: What comes with it

    private static let congestion: [NIOExplicitCongestionNotificationState] = [
        .transportNotCapable, .transportCapableFlag0, .transportCapableFlag1, .congestionExperienced,
    ]

    @Test(
        "congestion marks and packet information come as they were sent",
        arguments: across(TransportKind.here, [AddressFamily.ipv4, .ipv6]))
    func metadata(kind: TransportKind, family: AddressFamily) async throws {
        try await withRingGroup(kind) { group in
            let sender = try await group.datagram(family)
            let receiver = try await group.datagram(family) {
                $0.channelOption(.explicitCongestionNotification, value: true)
                    .channelOption(.receivePacketInfo, value: true)
            }
            for state in Self.congestion { try await sender.send([1], to: receiver.address, .init(ecnState: state)) }
            let received = try receiver.wait(for: 4).map(\.metadata)
            #expect(received.map { $0?.ecnState } == Self.congestion)
            let destination = try family.nioAddress()
            let loopback = try System.enumerateDevices().first { $0.name == "lo" }?.interfaceIndex
            for metadata in received {
                #expect(metadata?.packetInfo?.destinationAddress == destination)
                #expect(metadata?.packetInfo?.interfaceIndex == loopback)
                #expect(metadata?.segmentSize == nil)
            }
        }
    }

    @Test("each is told of only when it is wanted", arguments: TransportKind.here)
    func oneOfTwo(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let (sender, receiver) = (try await group.datagram(), try await group.datagram())
            let marked = Envelope.Metadata(ecnState: .congestionExperienced)
            try await sender.send([1], to: receiver.address, marked)
            try receiver.wait(for: 1)
            try await receiver.channel.setOption(.receivePacketInfo, value: true).get()
            try await sender.send([2], to: receiver.address, marked)
            try receiver.wait(for: 2)
            try await receiver.channel.setOption(.receivePacketInfo, value: false).get()
            try await receiver.channel.setOption(.explicitCongestionNotification, value: true).get()
            try await sender.send([3], to: receiver.address, marked)
            let metadata = try receiver.wait(for: 3).map(\.metadata)
            #expect(metadata[0] == nil)
            #expect(metadata[1]?.packetInfo != nil && metadata[1]?.ecnState == .transportNotCapable)
            #expect(metadata[2]?.packetInfo == nil && metadata[2]?.ecnState == .congestionExperienced)
        }
    }

    // MARK: Joined datagrams

    @Test("joining is refused where receive buffers are too small for it", arguments: TransportKind.here)
    func offloadRefused(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let receiver = try await group.datagram()
            await #expect(throws: ChannelError.operationUnsupported) {
                try await receiver.channel.setOption(.datagramReceiveOffload, value: true).get()
            }
            #expect(try await receiver.channel.getOption(.datagramReceiveOffload).get() == false)
        }
    }

    @Test("joined datagrams come as one, with the size of each if that is wanted", arguments: TransportKind.here)
    func offload(kind: TransportKind) async throws {
        try await withRingGroup(kind, receiveBufferSize: 128 * 1024) { group in
            let sender = try await group.datagram { $0.channelOption(.datagramSegmentSize, value: 1000) }
            let receiver = try await group.datagram { $0.channelOption(.datagramReceiveOffload, value: true) }
            #expect(try await receiver.channel.getOption(.datagramReceiveOffload).get())
            let bytes = pattern(60_500)
            for number in 1...3 {
                try await receiver.channel.setOption(.datagramReceiveSegmentSize, value: number > 1).get()
                #expect(try await receiver.channel.getOption(.datagramReceiveSegmentSize).get() == (number > 1))
                try await sender.send(bytes, to: receiver.address)
                #expect(try receiver.bytes(number).last == bytes)
            }
            #expect(receiver.envelopes.map { $0.metadata?.segmentSize } == [nil, 1000, 1000])
        }
    }
}
