import Glibc
import NIOCore
import Testing

@testable import RingmasterNIO
@testable import Transport
@testable import TransportTesting

@Suite("Datagram channels: connected to a peer", .timeLimit(.minutes(5)))
struct DatagramConnectedTests {
    @Test("connected, buffers need no address, and strangers are not heard", arguments: TransportKind.withFamilies)
    func connected(kind: TransportKind, family: AddressFamily) async throws {
        try await withRingGroup(kind) { group in
            let (peer, stranger) = (try await group.datagram(family), try await group.datagram(family))
            let channel = try await group.datagram(family)
            try await channel.channel.connect(to: peer.address).get()
            #expect(channel.channel.remoteAddress == (try peer.address))
            try await channel.channel.writeAndFlush(ByteBuffer(bytes: [1])).get()
            try await channel.send([2], to: peer.address)
            #expect(try peer.bytes(2) == [[1], [2]])
            let own = try channel.address
            if family == .unix {
                // Told to the sender, where the network drops it.
                #expect(await errnoCode(stranger.write([8], to: own)) == EPERM)
            } else {
                try await stranger.send([8], to: own)
            }
            try await peer.send([9], to: own)
            #expect(try channel.bytes(1) == [[9]])
            for endpoint in [peer, stranger, channel] { try await endpoint.close() }
        }
    }

    @Test(
        "a buffer without a peer, and a peer's channel with another's address, are refused",
        arguments: TransportKind.here)
    func refused(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let (peer, channel) = (try await group.datagram(), try await group.datagram())
            await #expect(throws: DatagramChannelError.WriteOnUnconnectedSocketWithoutAddress.self) {
                try await channel.channel.writeAndFlush(ByteBuffer(bytes: [1])).get()
            }
            try await channel.channel.connect(to: peer.address).get()
            await #expect(throws: DatagramChannelError.WriteOnConnectedSocketWithInvalidAddress.self) {
                try await channel.send([1], to: channel.address)
            }
        }
    }

    @Test("connecting again: what was flushed went to the former peer, the rest fails", arguments: TransportKind.here)
    func reconnect(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let (first, second) = (try await group.datagram(), try await group.datagram())
            let sender = try await group.datagram()
            let (a, b) = (try first.address, try second.address)
            let ends = Recorder<String>()
            let note: @Sendable (EventLoopFuture<Void>, String) -> Void = { future, name in
                future.whenSuccess { ends.record(name) }
                future.whenFailure { ends.record("\(name) \(($0 as? IOError)?.errnoCode == EISCONN)") }
            }
            try await sender.channel.eventLoop.flatSubmit {
                note(sender.write([1], to: a), "1")
                note(sender.write([2], to: a, flush: false), "2")
                let connected = sender.channel.connect(to: a)
                note(sender.channel.writeAndFlush(ByteBuffer(bytes: [3])), "3")
                note(sender.channel.write(ByteBuffer(bytes: [4])), "4")
                let again = sender.channel.connect(to: b)
                note(sender.channel.writeAndFlush(ByteBuffer(bytes: [5])), "5")
                return connected.and(again).map { _ in }
            }.get()
            #expect(try second.bytes(1) == [[5]])
            #expect(try first.bytes(2) == [[1], [3]])
            #expect(try ends.wait { $0.count == 5 } == ["1", "2 true", "3", "4 true", "5"])
            #expect(sender.channel.remoteAddress == b)
        }
    }

    @Test("a peer that is gone is an error, and the channel goes on", arguments: TransportKind.here)
    func gone(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let gone = try await group.datagram()
            let address = try gone.address
            let channel = try await group.datagram(make: { $0.connect(to: address) })
            try await gone.close()
            try await channel.channel.writeAndFlush(ByteBuffer(bytes: [1])).get()
            try channel.recorder.events.wait { if case .failed(ECONNREFUSED)? = $0.last { true } else { false } }
            #expect(channel.channel.isActive)
            let back = try await group.datagram(make: { $0.bind(to: address) })
            try await channel.channel.writeAndFlush(ByteBuffer(bytes: [2])).get()
            #expect(try back.bytes(1) == [[2]])
            try await back.send([3], to: channel.address)
            #expect(try channel.bytes(1) == [[3]])
        }
    }

    @Test("a connect that fails closes the channel", arguments: TransportKind.here)
    func failed(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let channel = try await group.datagram(.unix)
            #expect(await errnoCode(channel.channel.connect(to: try .init(unixDomainSocketPath: "/none"))) == ENOENT)
            try await channel.channel.closeFuture.get()
            #expect(!channel.channel.isActive)
        }
    }

    @Test(
        "while a socket ends by itself, what is written fails, and no promise is forgotten",
        arguments: TransportKind.here)
    func endsByItself(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let peer = try await group.datagram()
            let address = try peer.address
            let it = try await group.datagram(make: { $0.connect(to: address) })
            let channel = try #require(it.channel as? RingDatagramChannel)
            let (written, told) = (Recorder<Void>(), Recorder<Void>())
            // Once in every turn, the one too in which the socket ends.
            @Sendable func write() {
                guard channel.isActive else { return }
                written.record(())
                channel.writeAndFlush(ByteBuffer(bytes: [1])).whenComplete { _ in told.record(()) }
                channel.loop.scheduleTask(in: .zero, write)
            }
            let closed = Recorder<Void>()
            channel.loop.execute {
                channel.closeFuture.whenComplete { _ in closed.record(()) }
                write()
                // Without the channel's knowledge.
                channel.datagram?.loopIsStopping()
            }
            try closed.next()
            #expect(written.all.count > 1 && told.all.count == written.all.count)
        }
    }
}
