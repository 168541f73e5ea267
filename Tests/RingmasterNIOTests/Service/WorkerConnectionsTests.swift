import Foundation
import NIOCore
import Testing
import Transport

@testable import RingmasterNIO
@testable import TransportTesting

@Suite("A listening channel for what a worker is given", .timeLimit(.minutes(1)))
struct WorkerConnectionsTests {
    private typealias Stream = NIOAsyncChannel<ByteBuffer, ByteBuffer>

    /// Not on the threads that tests like these block.
    private static func task(
        on loop: RingEventLoop, _ body: @escaping @Sendable () async throws -> Void
    ) -> EventLoopFuture<Void> {
        let promise = loop.makePromise(of: Void.self)
        Task(executorPreference: loop.taskExecutor) {
            do {
                try await body()
                promise.succeed()
            } catch {
                promise.fail(error)
            }
        }
        return promise.futureResult
    }

    /// Sends everything back, until no more connections will come.
    private static func serve(_ listener: NIOAsyncChannel<Stream, Never>) async throws {
        try await listener.executeThenClose { connections in
            try await withThrowingDiscardingTaskGroup { group in
                for try await connection in connections {
                    group.addTask {
                        try await connection.executeThenClose { inbound, outbound in
                            for try await bytes in inbound { try await outbound.write(bytes) }
                        }
                    }
                }
            }
        }
    }

    @Test("connections are elements of its sequence, which ends when it is closed", arguments: TransportKind.here)
    func sequence(kind: TransportKind) throws {
        let (listening, serving) = (Recorder<any NIOCore.Channel>(), Recorder<Task<Void, any Error>>())
        let isOver = Recorder<Bool>()
        let service = NIOService(
            stopping: { loop in
                Self.task(on: loop) {
                    for listener in listening.all { try await listener.close() }
                    // Before the loop ends, on which it depends.
                    for task in serving.all { try await task.value }
                    isOver.record(true)
                }
            },
            listening: { connections in
                Self.task(on: connections.loop) {
                    let listener = try await connections.listen(
                        serverChannelInitializer: { channel in
                            listening.record(channel)
                            return channel.eventLoop.makeSucceededVoidFuture()
                        },
                        childChannelInitializer: { channel in
                            channel.eventLoop.makeCompletedFuture { try Stream(wrappingChannelSynchronously: channel) }
                        })
                    serving.record(
                        Task(executorPreference: connections.loop.taskExecutor) { try await Self.serve(listener) })
                }
            })
        let stage = try Stage(kind, service)
        _ = try stage.ready.next()
        let peers = try (0..<20).map { _ in try stage.connect() }
        for (number, peer) in peers.enumerated() {
            try peer.send("hello \(number)")
            let bytes = Array("hello \(number)".utf8)
            #expect(try peer.receive(exactly: bytes.count) == bytes)
        }
        for peer in peers {
            peer.finishOutput()
            #expect(try peer.receiveToEnd() == [])
        }
        try eventually { stage.ended.value == peers.count }
        try stage.finish()
        #expect(try isOver.next())
    }

    @Test("a service that nobody listens for in the end has failed", arguments: TransportKind.here)
    func nobody(kind: TransportKind) throws {
        let stage = try Stage(kind, NIOService(listening: { $0.loop.makeSucceededVoidFuture() }))
        #expect(try stage.failures.next() == "nobody listens to the worker's connections")
        #expect(stage.ready.all.isEmpty)
        try stage.finish()
    }

    private static func streams(_ connections: WorkerConnections) async throws -> NIOAsyncChannel<Stream, Never> {
        try await connections.listen { channel in
            channel.eventLoop.makeCompletedFuture { try Stream(wrappingChannelSynchronously: channel) }
        }
    }

    /// A service whose server takes no connections out of its sequence.
    private static func idle() -> NIOService {
        let listening = Recorder<NIOAsyncChannel<Stream, Never>>()
        return NIOService(listening: { connections in
            task(on: connections.loop) { listening.record(try await streams(connections)) }
        })
    }

    @Test("draining, it closes the connections that come when nobody listens any more", arguments: TransportKind.here)
    func ceased(kind: TransportKind) throws {
        let stage = try Stage(kind, Self.idle())
        _ = try stage.ready.next()
        stage.on { service in
            service.drain(spread: .zero)
            service.listener?.close(promise: nil)
        }
        let peer = try stage.connect()
        #expect(try peer.receiveToEnd() == [])
        try eventually { stage.ended.value == 1 }
        #expect(stage.failures.all.isEmpty)
        try stage.finish()
    }

    @Test("a service has failed when nobody listens any more, and it is not draining", arguments: TransportKind.here)
    func ceasedUnasked(kind: TransportKind) throws {
        let stage = try Stage(kind, Self.idle())
        _ = try stage.ready.next()
        stage.on { $0.listener?.close(promise: nil) }
        #expect(try stage.failures.next() == "nobody listens to the worker's connections")
        try stage.finish()
    }

    @Test("connections that its server has not taken end with the others", arguments: TransportKind.here)
    func untaken(kind: TransportKind) throws {
        let stage = try Stage(kind, Self.idle())
        _ = try stage.ready.next()
        let peers = try (0..<200).map { _ in try stage.connect() }
        let channels = Recorder<Int>()
        stage.on {
            channels.record($0.channels.count)
            $0.closeAll()
        }
        // The others wait in the listener.
        #expect(try channels.next() < peers.count)
        for peer in peers { #expect(try peer.receiveToEnd() == []) }
        try eventually { stage.ended.value == peers.count }
        try stage.finish()
    }
}
