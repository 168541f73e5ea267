import Foundation
import NIOCore
import NIOPosix
import RingmasterNIO
import Testing

import enum Transport.TransportKind

@testable import TransportTesting

@Suite("Datagram bootstrap", .timeLimit(.minutes(5)))
struct DatagramBootstrapTests {
    typealias Side = NIOAsyncChannel<Envelope, Envelope>

    private static func wrap(_ channel: any Channel) -> EventLoopFuture<Side> {
        channel.eventLoop.makeCompletedFuture { try Side(wrappingChannelSynchronously: channel) }
    }

    @Test("bound and connected channels as asynchronous sequences", arguments: TransportKind.here)
    func async(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let bootstrap = RingDatagramBootstrap(group: group)
            let server = try await bootstrap.bind(host: "127.0.0.1", port: 0, channelInitializer: Self.wrap)
            let address = try #require(server.channel.localAddress)
            let client = try await bootstrap.connect(
                host: "127.0.0.1", port: try #require(address.port), channelInitializer: Self.wrap)
            try await server.executeThenClose { inbound, outbound in
                try await client.executeThenClose { answers, questions in
                    try await questions.write(Envelope(remoteAddress: address, data: ByteBuffer(bytes: [1])))
                    for try await question in inbound {
                        #expect(question.data == ByteBuffer(bytes: [1]))
                        try await outbound.write(
                            Envelope(remoteAddress: question.remoteAddress, data: ByteBuffer(bytes: [2])))
                        break
                    }
                    for try await answer in answers {
                        #expect(answer.data == ByteBuffer(bytes: [2]) && answer.remoteAddress == address)
                        break
                    }
                }
            }
        }
    }

    @Test("the initializer's failure is the bootstrap's, and closes the channel", arguments: TransportKind.here)
    func initializer(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let channels = Recorder<any Channel>()
            await #expect(throws: Refusal.self) {
                try await RingDatagramBootstrap(group: group).bind(
                    to: .init(ipAddress: "127.0.0.1", port: 0)
                ) { channel -> EventLoopFuture<Void> in
                    channels.record(channel)
                    return channel.eventLoop.makeFailedFuture(Refusal())
                }
            }
            try await channels.all[0].closeFuture.get()
        }
    }

    @Test("an address that is taken is an error, and so is a peer that is not there", arguments: TransportKind.here)
    func taken(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let endpoint = try await group.datagram()
            let again = try RingDatagramBootstrap(group: group).bind(to: endpoint.address)
            #expect(await errnoCode(again.map { _ in }) == EADDRINUSE)
            let nowhere = RingDatagramBootstrap(group: group).connect(unixDomainSocketPath: "/none")
            #expect(await errnoCode(nowhere.map { _ in }) == ENOENT)
        }
    }

    @Test(
        "a socket file that is in the way is removed when that is wanted, and nothing else",
        arguments: TransportKind.here)
    func cleanup(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let bootstrap = RingDatagramBootstrap(group: group)
            guard case .unix(let path) = AddressFamily.unix.address else { return }
            defer { unlink(path) }
            let first = try await bootstrap.bind(unixDomainSocketPath: path).get()
            try await first.close()
            #expect(await errnoCode(bootstrap.bind(unixDomainSocketPath: path).map { _ in }) == EADDRINUSE)
            let second = try await bootstrap.bind(unixDomainSocketPath: path, cleanupExistingSocketFile: true).get()
            try await second.close()
            unlink(path)
            #expect(FileManager.default.createFile(atPath: path, contents: nil))
            await #expect(throws: RingmasterNIO.UnixDomainSocketPathWrongType.self) {
                try await bootstrap.bind(unixDomainSocketPath: path, cleanupExistingSocketFile: true).get()
            }
        }
    }

    @Test("a group of other loops is refused, and one of this module taken", arguments: TransportKind.here)
    func groups(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let others = MultiThreadedEventLoopGroup.singleton
            #expect(RingDatagramBootstrap(validatingGroup: others) == nil)
            #expect(RingDatagramBootstrap(validatingGroup: others.next()) == nil)
            #expect(RingDatagramBootstrap(validatingGroup: group) != nil)
            let bootstrap = try #require(RingDatagramBootstrap(validatingGroup: group.next()))
            let channel = try await bootstrap.bind(host: "127.0.0.1", port: 0).get()
            #expect(channel.isActive)
        }
    }
}
