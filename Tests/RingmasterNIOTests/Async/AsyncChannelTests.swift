import Foundation
import NIOCore
import NIOHTTP1
import Synchronization
import Testing

@testable import RingmasterNIO
@testable import Transport
@testable import TransportTesting

@Suite("Asynchronous channels")
struct AsyncChannelTests {
    private typealias Bytes = NIOAsyncChannel<ByteBuffer, ByteBuffer>

    @Sendable private static func wrap(_ channel: any NIOCore.Channel) -> EventLoopFuture<Bytes> {
        channel.eventLoop.makeCompletedFuture {
            try Bytes(wrappingChannelSynchronously: channel, configuration: .init(isOutboundHalfClosureEnabled: true))
        }
    }

    /// Serves every connection by `serve` while `body` runs.
    private static func withServer(
        _ group: RingEventLoopGroup, _ address: NIOCore.SocketAddress,
        serve: @escaping @Sendable (Bytes) async throws -> Void,
        _ body: (NIOCore.SocketAddress) async throws -> Void
    ) async throws {
        let listener = try await RingServerBootstrap(group: group)
            .childChannelOption(.allowRemoteHalfClosure, value: true).bind(to: address) { Self.wrap($0) }
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask {
                try await listener.executeThenClose { connections in
                    await withDiscardingTaskGroup { serving in
                        do {
                            for try await connection in connections {
                                serving.addTask { try? await serve(connection) }
                            }
                        } catch {
                            Issue.record(error)
                        }
                    }
                }
            }
            try await body(listener.channel.localAddress!)
            try await listener.channel.close().get()
            try await tasks.waitForAll()
        }
    }

    @Sendable private static func echo(_ connection: Bytes) async throws {
        try await connection.executeThenClose { inbound, outbound in
            for try await buffer in inbound { try await outbound.write(buffer) }
            outbound.finish()
            // The end of the body closes the channel, whatever is on its way out.
            try await connection.channel.closeFuture.get()
        }
    }

    @Test(
        "Both sides asynchronous: 2 MB are echoed, and half-closure ends both",
        arguments: across(streamTransports, StreamFamily.allCases))
    func echo(transport: TransportKind, family: StreamFamily) async throws {
        let bytes = pattern(2_000_000)
        let address = try family.address()
        defer { if let path = address.pathname, family == .unix { unlink(path) } }
        try await withRingGroup(transport, count: 2) { group async throws in
            try await Self.withServer(group, address, serve: Self.echo) { address in
                let client = try await RingClientBootstrap(group: group)
                    .channelOption(.allowRemoteHalfClosure, value: true)
                    .connect(to: address) { Self.wrap($0) }
                let echoed = try await client.executeThenClose { inbound, outbound in
                    async let sent: Void = {
                        for start in stride(from: 0, to: bytes.count, by: 50_000) {
                            try await outbound.write(ByteBuffer(Array(bytes[start..<start + 50_000])))
                        }
                        outbound.finish()
                    }()
                    var all: [UInt8] = []
                    for try await buffer in inbound { buffer.withUnsafeReadableBytes { all.append(contentsOf: $0) } }
                    try await sent
                    return all
                }
                let isSame = echoed.isSame(as: bytes)
                #expect(isSame, "\(echoed.count)")
            }
        }
    }

    @Test("A sequence that nobody reads holds the peer up; read later, it has all", arguments: streamTransports)
    func backPressure(transport: TransportKind) async throws {
        let bytes = pattern(6_000_000)
        let received = Journal()
        let go = Journal()
        try await withRingGroup(transport) { group async throws in
            try await Self.withServer(group, .init(ipAddress: "127.0.0.1", port: 0)) { connection in
                try await connection.executeThenClose { inbound, _ in
                    try await go.wait(for: "go")
                    for try await buffer in inbound { received.note(buffer) }
                }
            } _: { address in
                let core = CoreAddress(address)
                let peer = FarEnd(try await blocking { try Peer(connectingTo: core) })
                let sending = peer.sending(bytes)
                // The kernel's buffers are full when nothing more is taken.
                var before: Int32 = -1
                var still = 0
                try await soon("a stand-still") {
                    var unsent: Int32 = 0
                    _ = ioctl(peer.fd, UInt(TIOCOUTQ), &unsent)
                    still = unsent > 0 && unsent == before ? still + 1 : 0
                    before = unsent
                    return still == 50
                }
                #expect(received.bytes.isEmpty)
                go.note("go")
                try await sending.value
                try await received.wait(forBytes: bytes.count)
                #expect(received.bytes.isSame(as: bytes))
            }
        }
    }

    @Test("A listener whose connections nobody takes accepts no more than its marks say", arguments: streamTransports)
    func listenerBackPressure(transport: TransportKind) async throws {
        try await withRingGroup(transport) { group async throws in
            let listener = try await RingServerBootstrap(group: group).bind(
                host: "127.0.0.1", port: 0, serverBackPressureStrategy: .init(lowWatermark: 1, highWatermark: 2)
            ) { Self.wrap($0) }
            let address = CoreAddress(listener.channel.localAddress!)
            let peers = try await blocking { try (0..<50).map { _ in try Peer(connectingTo: address) } }
            let server = group.loops[0]
            for _ in 0..<20 { try await server.submit {}.get() }
            let count = try await server.submit { server.channels.count }.get()
            // The listener, the two that wait, and what one burst brings beyond.
            #expect(count >= 3 && count <= 1 + 2 + 4)
            try await listener.executeThenClose { connections in
                var served = 0
                for try await connection in connections {
                    served += 1
                    try await connection.executeThenClose { _, _ in }
                    if served == peers.count { break }
                }
                #expect(served == peers.count)
            }
        }
    }

    @Test(
        "A connection on another loop than its listener's is handed on as soon as it is ready", .timeLimit(.minutes(1)),
        arguments: streamTransports)
    func otherLoop(transport: TransportKind) async throws {
        try await withRingGroup(transport, count: 2) { group async throws in
            let listener = try await RingServerBootstrap(group: group.loops[0], childGroup: group.loops[1]).bind(
                host: "127.0.0.1", port: 0
            ) { Self.wrap($0) }
            let address = CoreAddress(listener.channel.localAddress!)
            let peer = FarEnd(try await blocking { try Peer(connectingTo: address) })
            try await listener.executeThenClose { connections in
                var iterator = connections.makeAsyncIterator()
                // No other connection comes, with which it could be handed on.
                let connection = try #require(try await iterator.next())
                try await connection.executeThenClose { _, outbound in try await outbound.write(ByteBuffer([7])) }
            }
            #expect(try await peer.receiveToEnd() == [7])
        }
    }

    @Test(
        "A connection whose initializer fails is closed, and the others are handed on", .timeLimit(.minutes(1)),
        arguments: streamTransports)
    func initializerFails(transport: TransportKind) async throws {
        try await withRingGroup(transport) { group async throws in
            let isFirst = Shared(Atomic(true))
            let listener = try await RingServerBootstrap(group: group).bind(host: "127.0.0.1", port: 0) { channel in
                isFirst.value.exchange(false, ordering: .relaxed)
                    ? channel.eventLoop.makeFailedFuture(ChannelError.eof) : Self.wrap(channel)
            }
            let address = CoreAddress(listener.channel.localAddress!)
            let first = FarEnd(try await blocking { try Peer(connectingTo: address) })
            #expect(try await first.receiveToEnd() == [])
            let second = FarEnd(try await blocking { try Peer(connectingTo: address) })
            try await listener.executeThenClose { connections in
                var iterator = connections.makeAsyncIterator()
                let connection = try #require(try await iterator.next())
                try await connection.executeThenClose { _, outbound in try await outbound.write(ByteBuffer([7])) }
            }
            #expect(try await second.receiveToEnd() == [7])
        }
    }

    @Test("executeThenClose closes the connection when its body is over", arguments: streamTransports)
    func closes(transport: TransportKind) async throws {
        try await withRingGroup(transport) { group async throws in
            let plain = try PlainListener()
            let client = try await RingClientBootstrap(group: group).connect(to: plain.address) { Self.wrap($0) }
            try await client.executeThenClose { _, outbound in try await outbound.write(ByteBuffer(string: "bye")) }
            #expect(try await plain.accept().receiveToEnd() == Array("bye".utf8))
            try await outcome(client.channel.closeFuture).get()
        }
    }

    @Test("A connect that fails throws", arguments: streamTransports)
    func connectFails(transport: TransportKind) async throws {
        try await withRingGroup(transport) { group async throws in
            let fd = try Socket.stream(AF_INET)
            defer { close(fd) }
            try Socket.bind(fd, to: .anyLoopback)
            let address = NIOCore.SocketAddress(try #require(Socket.localAddress(of: fd)))
            await #expect(throws: IOError.self) {
                _ = try await RingClientBootstrap(group: group).connect(to: address) { Self.wrap($0) }
            }
            await #expect(throws: IOError.self) {
                _ = try await RingClientBootstrap(group: group).connect(host: "127.0.0.1", port: address.port!) {
                    Self.wrap($0)
                }
            }
            await #expect(throws: IOError.self) {
                _ = try await RingServerBootstrap(group: group).bind(to: .init(ipAddress: "192.0.2.1", port: 0)) {
                    Self.wrap($0)
                }
            }
        }
    }

    @Test("A connected socket is taken over, and a bound one", arguments: streamTransports)
    func sockets(transport: TransportKind) async throws {
        try await withRingGroup(transport) { group async throws in
            let (left, right) = try tcpPair()
            let peer = FarEnd(Peer(fd: left))
            let client = try await RingClientBootstrap(group: group).withConnectedSocket(right) { Self.wrap($0) }
            try await client.executeThenClose { _, outbound in try await outbound.write(ByteBuffer(string: "x")) }
            #expect(try await peer.receiveToEnd() == Array("x".utf8))
            let fd = try Socket.stream(AF_INET)
            try Socket.bind(fd, to: .anyLoopback)
            let listener = try await RingServerBootstrap(group: group).bind(fd) { Self.wrap($0) }
            let address = CoreAddress(listener.channel.localAddress!)
            let second = FarEnd(try await blocking { try Peer(connectingTo: address) })
            try await listener.executeThenClose { connections in
                for try await connection in connections {
                    try await connection.executeThenClose { _, outbound in
                        try await outbound.write(ByteBuffer(string: "y"))
                    }
                    break
                }
            }
            #expect(try await second.receiveToEnd() == Array("y".utf8))
        }
    }

    @Test("A task that is cancelled leaves its connection closed", arguments: streamTransports)
    func cancelled(transport: TransportKind) async throws {
        try await withRingGroup(transport) { group async throws in
            let plain = try PlainListener()
            let client = try await RingClientBootstrap(group: group).connect(to: plain.address) { Self.wrap($0) }
            let task = Task {
                try await client.executeThenClose { inbound, _ in
                    for try await _ in inbound {}
                }
            }
            let peer = try await plain.accept()
            task.cancel()
            #expect(try await peer.receiveToEnd().isEmpty)
            _ = await task.result
            try await outcome(client.channel.closeFuture).get()
        }
    }

    @Test(
        "What the initializer decides later, as by a negotiation, is what connect returns", arguments: streamTransports)
    func negotiated(transport: TransportKind) async throws {
        /// Decides by the first byte. Unchecked: used on the loop's thread only.
        final class Negotiator: ChannelInboundHandler, RemovableChannelHandler, @unchecked Sendable {
            typealias InboundIn = ByteBuffer
            let decided: EventLoopPromise<String>
            init(_ decided: EventLoopPromise<String>) { self.decided = decided }
            func channelRead(context: ChannelHandlerContext, data: NIOAny) {
                decided.succeed(Self.unwrapInboundIn(data).getString(at: 0, length: 1) ?? "")
                context.fireChannelRead(data)
            }
            func channelInactive(context: ChannelHandlerContext) {
                decided.fail(ChannelError.eof)
                context.fireChannelInactive()
            }
        }
        @Sendable func negotiate(_ channel: any NIOCore.Channel) -> EventLoopFuture<EventLoopFuture<String>> {
            channel.eventLoop.makeCompletedFuture {
                let decided = channel.eventLoop.makePromise(of: String.self)
                try channel.pipeline.syncOperations.addHandler(Negotiator(decided))
                return decided.futureResult
            }
        }
        try await withRingGroup(transport) { group async throws in
            let listener = try await RingServerBootstrap(group: group).bind(host: "127.0.0.1", port: 0) {
                negotiate($0)
            }
            let address = CoreAddress(listener.channel.localAddress!)
            let peers = try await blocking { try (0..<2).map { _ in FarEnd(try Peer(connectingTo: address)) } }
            try await peers[0].send("a")
            try await listener.executeThenClose { connections in
                var iterator = connections.makeAsyncIterator()
                #expect(try await iterator.next()?.get() == "a")
                let second = try #require(try await iterator.next())
                peers[1].close()
                #expect(try await failure(second) as? ChannelError == .eof)
            }
        }
    }

    @Test(
        "HTTP/1.1 with SwiftNIO's handlers: requests in a pipeline are answered in order, keep-alive and close",
        arguments: streamTransports)
    func http(transport: TransportKind) async throws {
        // Unchecked: used on the loop's thread only.
        final class Answering: ChannelInboundHandler, @unchecked Sendable {
            typealias InboundIn = HTTPServerRequestPart
            typealias OutboundOut = HTTPServerResponsePart
            var uri = ""
            var bodyCount = 0
            var keepsAlive = true
            func channelRead(context: ChannelHandlerContext, data: NIOAny) {
                switch Self.unwrapInboundIn(data) {
                case .head(let head): (uri, bodyCount, keepsAlive) = (head.uri, 0, head.isKeepAlive)
                case .body(let body): bodyCount += body.readableBytes
                case .end:
                    let text = "\(uri) \(bodyCount)\n"
                    var head = HTTPResponseHead(version: .http1_1, status: .ok)
                    head.headers.add(name: "content-length", value: "\(text.utf8.count)")
                    context.write(Self.wrapOutboundOut(.head(head)), promise: nil)
                    context.write(Self.wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: text)))), promise: nil)
                    let sent = context.eventLoop.makePromise(of: Void.self)
                    let (bound, closes) = (context.loopBound, !keepsAlive)
                    sent.futureResult.whenSuccess { if closes { bound.value.close(promise: nil) } }
                    context.writeAndFlush(Self.wrapOutboundOut(.end(nil)), promise: sent)
                }
            }
        }
        try await withRingGroup(transport) { group async throws in
            let listener = try await RingServerBootstrap(group: group).childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline()
                    try channel.pipeline.syncOperations.addHandler(Answering())
                }
            }.bind(host: "127.0.0.1", port: 0).get()
            let address = CoreAddress(listener.localAddress!)
            let peer = FarEnd(try await blocking { try Peer(connectingTo: address) })
            let body = String(repeating: "b", count: 100_000)
            var requests = ""
            for number in 0..<50 { requests += "GET /\(number) HTTP/1.1\r\nHost: x\r\n\r\n" }
            requests += "POST /post HTTP/1.1\r\nHost: x\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
            requests += "GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            let sending = peer.sending(Array(requests.utf8), thenFinish: false)
            let answers = String(decoding: try await peer.receiveToEnd(), as: UTF8.self)
            try await sending.value
            let bodies = answers.split(separator: "\r\n\r\n").dropFirst().map { $0.prefix { $0 != "\n" } }
            #expect(bodies.map(String.init) == (0..<50).map { "/\($0) 0" } + ["/post 100000", "/last 0"])
        }
    }
}
