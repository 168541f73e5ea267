import Foundation
import NIOCore
import Synchronization
import Testing

@testable import RingmasterNIO
@testable import Transport
@testable import TransportTesting

/// io_uring where it can be had, and epoll.
let streamTransports: [TransportKind] = TransportMode.usual == .epoll ? [.epoll] : [.ioUring, .epoll]

/// Waits until `condition` holds, without blocking a thread.
func soon(within seconds: Double = 20, _ what: String, _ condition: () throws -> Bool) async throws {
    let deadline = ContinuousClock.now + .seconds(seconds)
    while try !condition() {
        if ContinuousClock.now > deadline { throw TimedOut(description: "\(what): not within \(seconds) s") }
        try await Task.sleep(for: .milliseconds(1))
    }
}

/// The result of a future that must come soon.
func outcome<Value: Sendable>(_ future: EventLoopFuture<Value>) async throws -> Result<Value, any Error> {
    let box = Mutex<Result<Value, any Error>?>(nil)
    let shared = Shared(box)
    future.whenComplete { result in shared.value.withLock { $0 = result } }
    try await soon("a future's result") { shared.value.withLock { $0 != nil } }
    return shared.value.withLock { $0! }
}

/// The error that a future must soon fail with.
func failure<Value: Sendable>(_ future: EventLoopFuture<Value>) async throws -> (any Error)? {
    if case .failure(let error) = try await outcome(future) { error } else { nil }
}

/// Runs blocking calls on a thread of their own: those of asynchronous code are as few as there are cores.
func blocking<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
        Thread.detachNewThread { continuation.resume(with: Result { try body() }) }
    }
}

/// The other end of a connection under test: plain blocking calls, waited for without blocking.
final class FarEnd: Sendable {
    let plain: Peer
    var fd: Int32 { plain.fd }

    init(_ plain: Peer) { self.plain = plain }

    func send(_ bytes: [UInt8]) async throws { try await blocking { try self.plain.send(bytes) } }
    func send(_ text: String) async throws { try await send(Array(text.utf8)) }
    func receive(upTo count: Int = 65_536) async throws -> [UInt8] {
        try await blocking { try self.plain.receive(upTo: count) }
    }
    func receive(exactly count: Int) async throws -> [UInt8] {
        try await blocking { try self.plain.receive(exactly: count) }
    }
    func receiveToEnd() async throws -> [UInt8] { try await blocking { try self.plain.receiveToEnd() } }
    func finishOutput() { plain.finishOutput() }
    func reset() { plain.reset() }
    func close() { plain.close() }

    /// Sends while the caller does something else.
    func sending(_ bytes: [UInt8], thenFinish: Bool = true) -> Task<Void, any Error> {
        Task {
            try await send(bytes)
            if thenFinish { finishOutput() }
        }
    }
}

/// A reference to what cannot be copied.
final class Shared<Value: ~Copyable & Sendable>: Sendable {
    let value: Value
    init(_ value: consuming Value) { self.value = value }
}

/// What a pipeline was told, and the bytes it read.
final class Journal: Sendable {
    private struct Content {
        var events: [String] = []
        var bytes: [UInt8] = []
        var channel: (any NIOCore.Channel)?
    }

    private let content = Mutex(Content())

    var events: [String] { content.withLock { $0.events } }
    var bytes: [UInt8] { content.withLock { $0.bytes } }

    func note(_ event: String) { content.withLock { $0.events.append(event) } }
    func note(_ buffer: ByteBuffer) {
        buffer.withUnsafeReadableBytes { bytes in content.withLock { $0.bytes.append(contentsOf: bytes) } }
    }
    func set(_ channel: any NIOCore.Channel) { content.withLock { $0.channel = channel } }

    func has(_ event: String) -> Bool { content.withLock { $0.events.contains(event) } }
    func count(_ event: String) -> Int { content.withLock { $0.events.count { $0 == event } } }

    func wait(for event: String) async throws {
        do {
            try await soon(event) { has(event) }
        } catch {
            throw TimedOut(description: "\(error), but \(events)")
        }
    }

    func wait(forBytes count: Int) async throws {
        do {
            try await soon(within: 60, "\(count) bytes") { content.withLock { $0.bytes.count >= count } }
        } catch {
            throw TimedOut(description: "\(error), but \(bytes.count)")
        }
    }

    /// The channel, when the first event has been noted.
    func channel() async throws -> any NIOCore.Channel {
        try await soon("a channel") { content.withLock { $0.channel != nil && !$0.events.isEmpty } }
        return content.withLock { $0.channel! }
    }
}

/// Notes what a pipeline is told, and does what a test wants at an event.
///
/// Unchecked: set up before it is added to a pipeline, then used on the loop's thread only.
final class Spy: ChannelDuplexHandler, @unchecked Sendable {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = IOData
    typealias OutboundOut = IOData

    let journal: Journal
    /// By event; "read" for every read.
    var on: [String: (ChannelHandlerContext) -> Void] = [:]
    /// Told what is read.
    var onBytes: ((ChannelHandlerContext, ByteBuffer) -> Void)?
    /// Whether the requests to read are passed on.
    let passesReads = Atomic<Bool>(true)
    var keepsBytes = true

    init(_ journal: Journal) { self.journal = journal }

    private func note(_ event: String, _ context: ChannelHandlerContext, as key: String? = nil) {
        journal.note(event)
        on[key ?? event]?(context)
    }

    func handlerAdded(context: ChannelHandlerContext) { journal.set(context.channel) }
    func handlerRemoved(context: ChannelHandlerContext) { note("removed", context) }
    func channelRegistered(context: ChannelHandlerContext) { note("registered", context) }
    func channelUnregistered(context: ChannelHandlerContext) { note("unregistered", context) }
    func channelActive(context: ChannelHandlerContext) { note("active", context) }
    func channelInactive(context: ChannelHandlerContext) { note("inactive", context) }
    func channelReadComplete(context: ChannelHandlerContext) { note("readComplete", context) }
    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        note("error \((error as? IOError).map { "\($0.errnoCode)" } ?? "\(error)")", context, as: "error")
    }
    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) { note("event \(event)", context) }
    func channelWritabilityChanged(context: ChannelHandlerContext) {
        note("writable \(context.channel.isWritable)", context)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let buffer = Self.unwrapInboundIn(data)
        if keepsBytes { journal.note(buffer) }
        onBytes?(context, buffer)
        note("read \(buffer.readableBytes)", context, as: "read")
    }

    func read(context: ChannelHandlerContext) {
        if passesReads.load(ordering: .relaxed) { context.read() } else { journal.note("read held back") }
    }
}

/// A connection of a server under test, and the other end as a plain socket.
struct Accepted {
    let listener: any NIOCore.Channel
    let channel: any NIOCore.Channel
    let peer: FarEnd
    let journal: Journal
    let spy: Spy

    var stream: RingStreamChannel { channel as! RingStreamChannel }

    /// Runs `body` on the channel's loop.
    func onLoop<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        try await outcome(channel.eventLoop.submit(body)).get()
    }
}

/// Where servers under test listen.
enum StreamFamily: CaseIterable {
    case ipv4, ipv6, unix

    func address() throws -> NIOCore.SocketAddress {
        switch self {
        case .ipv4: try .init(ipAddress: "127.0.0.1", port: 0)
        case .ipv6: try .init(ipAddress: "::1", port: 0)
        case .unix: try .init(unixDomainSocketPath: temporaryPath())
        }
    }
}

func temporaryPath() -> String {
    FileManager.default.temporaryDirectory.appendingPathComponent("ring-\(UUID().uuidString.prefix(13))").path
}

/// Runs `body` with one accepted connection, and ends everything.
func withAccepted(
    _ transport: TransportKind, _ family: StreamFamily = .ipv4, receiveBuffer: Int32? = nil,
    options: (RingServerBootstrap) -> RingServerBootstrap = { $0 },
    spy setUp: @escaping @Sendable (Spy) -> Void = { _ in },
    initialize: @escaping @Sendable (any NIOCore.Channel) -> Void = { _ in },
    _ body: (Accepted) async throws -> Void
) async throws {
    let address = try family.address()
    defer { if let path = address.pathname, family == .unix { unlink(path) } }
    try await withRingGroup(transport) { group async throws in
        let journal = Journal()
        let spy = Spy(journal)
        setUp(spy)
        let bootstrap = options(RingServerBootstrap(group: group)).childChannelInitializer { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandler(spy)
                initialize(channel)
            }
        }
        let listener = try await bootstrap.bind(to: address).get()
        let address = CoreAddress(listener.localAddress!)
        let peer = FarEnd(try await blocking { try Peer(connectingTo: address, receiveBuffer: receiveBuffer) })
        let channel = try await journal.channel()
        try await body(Accepted(listener: listener, channel: channel, peer: peer, journal: journal, spy: spy))
    }
}

/// A plain socket that listens, for clients under test.
final class PlainListener: Sendable {
    let fd: Int32
    let address: NIOCore.SocketAddress

    init(_ address: Transport.SocketAddress = .anyLoopback, backlog: Int32 = 16) throws {
        fd = try Socket.listen(address, backlog: backlog)
        self.address = NIOCore.SocketAddress(try #require(Socket.localAddress(of: fd)))
    }

    deinit { close(fd) }

    func accept() async throws -> FarEnd {
        let accepted = try await blocking {
            let accepted = Glibc.accept(self.fd, nil, nil)
            if accepted < 0 { throw SystemError.last("accept") }
            return accepted
        }
        return FarEnd(Peer(fd: accepted))
    }
}

/// Runs `body` with a connection that a client bootstrap has made to a plain socket, and ends everything.
func withConnected(
    _ transport: TransportKind, options: (RingClientBootstrap) -> RingClientBootstrap = { $0 },
    spy setUp: @escaping @Sendable (Spy) -> Void = { _ in },
    _ body: (Accepted) async throws -> Void
) async throws {
    try await withRingGroup(transport) { group async throws in
        let journal = Journal()
        let spy = Spy(journal)
        setUp(spy)
        let plain = try PlainListener()
        let bootstrap = options(RingClientBootstrap(group: group)).channelInitializer { channel in
            channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(spy) }
        }
        let channel = try await bootstrap.connect(to: plain.address).get()
        let peer = try await plain.accept()
        try await body(Accepted(listener: channel, channel: channel, peer: peer, journal: journal, spy: spy))
    }
}

/// Whether the process has a descriptor of this socket.
func isOpenAnywhere(_ socket: FileIdentity) -> Bool {
    for name in (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? [] {
        if let fd = Int32(name), FileIdentity(fd) == socket { return true }
    }
    return false
}

extension [UInt8] {
    /// As `==`, whose failure Swift Testing would explain by a comparison that takes hours for megabytes.
    func isSame(as other: [UInt8]) -> Bool { self == other }
}

extension ByteBuffer {
    init(_ bytes: [UInt8]) { self.init(bytes: bytes) }
}

extension NIOCore.Channel {
    /// Writes and flushes: in asynchronous code the same call of SwiftNIO's would wait.
    func sending(_ data: some Sendable) -> EventLoopFuture<Void> {
        let promise = eventLoop.makePromise(of: Void.self)
        writeAndFlush(data, promise: promise)
        return promise.futureResult
    }

    /// As ``sending(_:)``, without the flush.
    func holding(_ data: some Sendable) -> EventLoopFuture<Void> {
        let promise = eventLoop.makePromise(of: Void.self)
        write(data, promise: promise)
        return promise.futureResult
    }
}
