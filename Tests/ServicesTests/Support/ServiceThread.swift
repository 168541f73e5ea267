import Foundation
import Testing
import Transport

@testable import Services
@testable import TransportTesting

/// A service on a loop of its own thread, with a listener that gives it what it accepts.
final class ServiceThread<Running: Service & SendableMetatype>: Sendable {
    struct State: Sendable {
        var isReady = false
        var served = 0
        var ended = 0
        /// What the service has frozen, in order.
        var frozen: [FrozenBox] = []
        var unfinished: Int?
    }

    let address: SocketAddress
    let state = Watched(State())
    private let stage: Stage

    /// What lives on the thread.
    // Sendable: both are touched on the loop's thread only; elsewhere the reference is merely passed on.
    private struct Stage: @unchecked Sendable {
        let loop: EventLoop
        let service: Running
    }

    init(
        listeningOn address: SocketAddress = .ipv4(0x7f00_0001, port: 0),
        _ make: @escaping @Sendable () -> Running
    ) throws {
        let fd = try Socket.listen(address, backlog: 128)
        self.address = Socket.localAddress(of: fd)!
        let made = Watched<Stage?>(nil)
        let state = state
        Thread.detachNewThread {
            do {
                let stage = Stage(loop: try EventLoop(TransportMode.usual.configuration), service: make())
                made.update { $0 = stage }
                try Self.run(stage, fd, state)
            } catch {
                Issue.record("the loop's thread: \(error)")
            }
        }
        stage = try made.wait(for: "the loop") { $0 != nil }!
    }

    private static func run(_ stage: Stage, _ fd: Int32, _ state: Watched<State>) throws {
        let service = stage.service
        // The stage keeps the service: its host's callbacks refer to the listener, which must not keep it alive in turn.
        let listener = Listener(stage.loop, fd: fd) { [unowned service] fd in
            state.update { $0.served += 1 }
            service.serve(
                IncomingConnection(
                    fd: fd, listener: 0, peer: Socket.peerAddress(of: fd) ?? .unix(path: ""), acceptedAt: .now,
                    isShared: true))
        }
        let host = ServiceHost(
            loop: stage.loop,
            ready: {
                state.update { $0.isReady = true }
                listener.resume()
            },
            connectionEnded: { state.update { $0.ended += 1 } },
            frozen: { frozen in
                let box = FrozenBox(frozen)
                state.update { $0.frozen.append(box) }
            })
        try service.start(host)
        let unfinished = try stage.loop.run()
        state.update { $0.unfinished = unfinished }
    }

    /// Runs `body` on the loop's thread.
    @discardableResult
    func on<Value: Sendable>(_ body: @escaping @Sendable (Running, EventLoop) -> Value) throws -> Value {
        let result = Watched<Value?>(nil)
        let stage = stage
        #expect(stage.loop.remote.execute { loop in result.update { $0 = body(stage.service, loop) } })
        return try result.wait(for: "the loop") { $0 != nil }!
    }

    func waitUntilEnded(_ count: Int) throws {
        try state.wait(for: "\(count) connections to end") { $0.ended >= count }
        #expect(state.value.ended == count)
    }

    var statistics: ServiceStatistics {
        get throws { try on { service, _ in service.statistics } }
    }

    /// Cuts what is left and stops. Every connection must have ended exactly once and nothing be left on the loop.
    func finish(
        sourceLocation: SourceLocation = #_sourceLocation, _ check: @escaping @Sendable (Running) -> Void = { _ in }
    ) throws {
        try on { service, _ in service.closeAll() }
        try state.wait(for: "all connections to end") { $0.ended + $0.frozen.count >= $0.served }
        try eventually("only the listener to be left on the loop") { try on { $1.channelCount } == 1 }
        try stop(sourceLocation: sourceLocation, check)
    }

    /// Stops the loop under whatever connections there are, and shows the service when it has ended.
    func stop(
        sourceLocation: SourceLocation = #_sourceLocation, _ check: @escaping @Sendable (Running) -> Void = { _ in }
    ) throws {
        stage.loop.remote.stop()
        let state = try state.wait(for: "the loop to end") { $0.unfinished != nil }
        #expect(state.unfinished == 0, sourceLocation: sourceLocation)
        #expect(
            state.ended + state.frozen.count == state.served, "connectionEnded or frozen once per connection",
            sourceLocation: sourceLocation)
        // The loop's thread has left the service for good.
        check(stage.service)
    }
}
