import Glibc
import NIOCore
import RingmasterNIO
import Testing

import enum Transport.SocketAddress
import enum Transport.TransportKind

@testable import TransportTesting

typealias Envelope = AddressedEnvelope<ByteBuffer>

extension TransportKind {
    /// Each of them with each address family.
    static let withFamilies = across(here, AddressFamily.allCases)
}

extension AddressFamily {
    /// An address of this machine: any port, or a path that nobody has.
    func nioAddress() throws -> NIOCore.SocketAddress {
        switch address {
        case .ipv4: try .init(ipAddress: "127.0.0.1", port: 0)
        case .ipv6: try .init(ipAddress: "::1", port: 0)
        case .unix(let path): try .init(unixDomainSocketPath: path)
        }
    }
}

/// What a datagram channel's pipeline is told.
enum DatagramEvent: Sendable {
    case read(Envelope)
    case readComplete
    case failed(errno: CInt?)
    case writability(Bool)
    case active
    case inactive
}

/// Records what it is told, and passes it on.
final class DatagramRecorder: ChannelInboundHandler, Sendable {
    typealias InboundIn = Envelope

    let events = Recorder<DatagramEvent>()

    func channelActive(context: ChannelHandlerContext) { events.record(.active) }
    func channelInactive(context: ChannelHandlerContext) { events.record(.inactive) }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        events.record(.read(Self.unwrapInboundIn(data)))
        context.fireChannelRead(data)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        events.record(.readComplete)
        context.fireChannelReadComplete()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        events.record(.writability(context.channel.isWritable))
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        events.record(.failed(errno: (error as? IOError)?.errnoCode))
    }
}

/// A datagram channel and what it was told.
struct Endpoint: Sendable {
    let channel: any Channel
    let recorder: DatagramRecorder

    var address: NIOCore.SocketAddress {
        get throws { try #require(channel.localAddress) }
    }

    var envelopes: [Envelope] { Self.envelopes(recorder.events.all) }

    private static func envelopes(_ events: [DatagramEvent]) -> [Envelope] {
        events.compactMap { if case .read(let envelope) = $0 { envelope } else { nil } }
    }

    var errors: [CInt?] {
        recorder.events.all.compactMap { if case .failed(let code) = $0 { .some(code) } else { nil } }
    }

    var writability: [Bool] {
        recorder.events.all.compactMap { if case .writability(let value) = $0 { value } else { nil } }
    }

    /// How many datagrams each burst of reading had.
    var bursts: [Int] {
        var bursts = [0]
        for event in recorder.events.all {
            if case .read = event { bursts[bursts.count - 1] += 1 }
            if case .readComplete = event { bursts.append(0) }
        }
        return bursts.dropLast()
    }

    /// Waits for a number of datagrams, and returns all that came.
    @discardableResult
    func wait(for count: Int) throws -> [Envelope] {
        Self.envelopes(try recorder.events.wait { Self.envelopes($0).count >= count })
    }

    func bytes(_ count: Int) throws -> [[UInt8]] {
        try wait(for: count).map { Array($0.data.readableBytesView) }
    }

    func write(
        _ bytes: [UInt8], to address: NIOCore.SocketAddress, _ metadata: Envelope.Metadata? = nil, flush: Bool = true
    ) -> EventLoopFuture<Void> {
        let envelope = Envelope(remoteAddress: address, data: ByteBuffer(bytes: bytes), metadata: metadata)
        return flush ? channel.writeAndFlush(envelope) : channel.write(envelope)
    }

    func send(
        _ bytes: [UInt8], to address: NIOCore.SocketAddress, _ metadata: Envelope.Metadata? = nil
    ) async throws {
        try await write(bytes, to: address, metadata).get()
    }

    func close() async throws {
        let path = channel.localAddress?.pathname
        try await channel.close()
        if let path { unlink(path) }
    }
}

extension RingEventLoopGroup {
    /// A bound datagram channel.
    func datagram(
        _ family: AddressFamily = .ipv4,
        _ setUp: @escaping @Sendable (RingDatagramBootstrap) -> RingDatagramBootstrap = { $0 }
    ) async throws -> Endpoint {
        try await datagram(setUp) { try $0.bind(to: family.nioAddress()) }
    }

    /// A datagram channel of the bootstrap's making.
    func datagram(
        _ setUp: (RingDatagramBootstrap) -> RingDatagramBootstrap = { $0 },
        make: (RingDatagramBootstrap) throws -> EventLoopFuture<any Channel>
    ) async throws -> Endpoint {
        let recorder = DatagramRecorder()
        let bootstrap = RingDatagramBootstrap(group: self).channelInitializer { channel in
            channel.pipeline.addHandler(recorder)
        }
        return Endpoint(channel: try await make(setUp(bootstrap)).get(), recorder: recorder)
    }
}

/// The errno that the future fails with; nil when it does not, or with another error.
func errnoCode(_ future: EventLoopFuture<Void>) async -> CInt? {
    do {
        try await future.get()
        return nil
    } catch {
        return (error as? IOError)?.errnoCode
    }
}
