import Foundation
import NIOCore
import RingmasterNIO
import Synchronization
import Testing

import enum Transport.SocketAddress
import enum Transport.TransportKind

@testable import TransportTesting

extension TransportKind {
    /// Those that this process can have.
    static let here: [TransportKind] = TransportMode.uring.obstacle == nil ? [.ioUring, .epoll] : [.epoll]
}

/// Counts from any thread.
final class Counter: Sendable {
    private let number = Atomic<Int>(0)

    var value: Int { number.load(ordering: .sequentiallyConsistent) }

    @discardableResult
    func increment() -> Int { number.add(1, ordering: .sequentiallyConsistent).newValue }
}

/// Says when it is gone.
final class Tracer: Sendable {
    private let gone: Counter

    init(_ gone: Counter) { self.gone = gone }

    deinit { gone.increment() }
}

/// Runs `body` on `count` threads at once, and waits for all.
func onThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) throws {
    let ended = Recorder<Int>()
    for number in 0..<count {
        Thread.detachNewThread {
            body(number)
            ended.record(number)
        }
    }
    try ended.wait(within: 30) { $0.count == count }
}

/// Sends back what it reads.
final class EchoHandler: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        context.writeAndFlush(data, promise: nil)
    }
}

/// Calls `action` with each buffer that it reads.
final class ReadHandler: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer

    private let action: @Sendable (any EventLoop, ByteBuffer) -> Void

    init(_ action: @escaping @Sendable (any EventLoop, ByteBuffer) -> Void) { self.action = action }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        action(context.eventLoop, Self.unwrapInboundIn(data))
    }
}

/// What a child process says on standard error.
func standardError(_ result: ExitTest.Result?) -> String {
    String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
}

extension RingEventLoopGroup {
    /// A server on 127.0.0.1.
    func serve(
        _ initializer: @escaping @Sendable (any Channel) throws -> Void = { _ in }
    ) async throws -> any Channel {
        try await RingServerBootstrap(group: self).childChannelInitializer { channel in
            channel.eventLoop.makeCompletedFuture { try initializer(channel) }
        }.bind(host: "127.0.0.1", port: 0).get()
    }

    /// A connection to `server`.
    func connect(
        to server: any Channel, _ initializer: @escaping @Sendable (any Channel) throws -> Void = { _ in }
    ) async throws -> any Channel {
        let address = try #require(server.localAddress)
        return try await RingClientBootstrap(group: self).channelInitializer { channel in
            channel.eventLoop.makeCompletedFuture { try initializer(channel) }
        }.connect(to: address).get()
    }
}

struct Refusal: Error {}

/// A value that any thread may change.
final class SharedFlag: Sendable {
    private let flag: Atomic<Bool>

    init(_ value: Bool) { flag = Atomic(value) }

    var value: Bool {
        get { flag.load(ordering: .sequentiallyConsistent) }
        set { flag.store(newValue, ordering: .sequentiallyConsistent) }
    }
}

/// A task that always brings another.
struct Chain: Sendable {
    private let loop: any EventLoop
    private let goesOn: SharedFlag

    init(_ loop: any EventLoop, _ goesOn: SharedFlag) {
        self.loop = loop
        self.goesOn = goesOn
    }

    func go() {
        if goesOn.value { loop.execute(go) }
    }
}

extension Peer {
    /// A connection to a server on 127.0.0.1.
    convenience init(connectingTo server: any Channel) throws {
        try self.init(onPort: try #require(server.localAddress?.port))
    }

    convenience init(onPort port: Int) throws {
        try self.init(connectingTo: Transport.SocketAddress.ipv4(0x7f00_0001, port: UInt16(port)))
    }
}

/// Waits for the future, which is to succeed with `value`.
func expect<Value: Equatable & Sendable>(
    _ future: EventLoopFuture<Value>, is value: Value, sourceLocation: SourceLocation = #_sourceLocation
) async throws {
    let result = try await future.get()
    #expect(result == value, sourceLocation: sourceLocation)
}
