import Glibc
import Logging
import Testing

@testable import Services
@testable import Transport
@testable import TransportTesting

/// One side of a pair has let go of its socket and the other has not yet: orders that the kernel produces rarely.
@Suite("proxy: order of completions while a pair is frozen")
struct ProxyFreezeOrderTests {
    private let kernel = ScriptedKernel(bufferCount: 4, bufferSize: 64)
    private let state = Watched((ended: 0, frozen: 0))

    @Test(
        "what ends the side that still holds its socket ends the other, too",
        arguments: ProxiedPair.Direction.allCases, [true, false])
    func endsWhileOneIsDetached(broken: ProxiedPair.Direction, isReset: Bool) throws {
        let (client, servedClient) = try servedSocket()
        let (server, servedServer) = try servedSocket()
        let isClientBroken = broken == .fromClient
        let (brokenSocket, freeSocket) =
            isClientBroken ? (servedClient, servedServer) : (servedServer, servedClient)
        let service = ProxyService(
            ProxyConfiguration(upstreams: [.address(.ipv4(1, port: 1))]),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        try kernel.run(
            setUp: { loop in thaw(service, loop, [servedClient, servedServer]) },
            all: [
                { _ in #expect(service.freeze(1) == 1) },
                { kernel in end(kernel, freeSocket, -ECANCELED) },
                { kernel in
                    #expect(service.freezing == 1 && state.value == (0, 0), "it waits for the other")
                    if !isReset { service.closeAll() }
                    end(kernel, brokenSocket, isReset ? -ECONNRESET : -ECANCELED)
                },
                { _ in
                    #expect(service.freezing == 0 && state.value == (1, 0))
                    #expect(service.sessions.isEmpty && service.pool.connections(of: 0) == 0)
                },
            ])
        let other = isClientBroken ? server : client
        if isReset { #expect(try other.isReset()) } else { #expect(try other.isAtEnd()) }
        #expect(try (isClientBroken ? client : server).isEnded())
    }

    @Test("a pair is frozen when both sides have let go, whichever is first", arguments: [0, 1])
    func whicheverIsFirst(first: Int) throws {
        let (client, servedClient) = try servedSocket()
        let (server, servedServer) = try servedSocket()
        let sockets = [servedClient, servedServer]
        let service = ProxyService(
            ProxyConfiguration(upstreams: [.address(.ipv4(1, port: 1))]),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        try kernel.run(
            setUp: { loop in thaw(service, loop, sockets) },
            all: [
                { _ in #expect(service.freeze(1) == 1) },
                { kernel in end(kernel, sockets[first], -ECANCELED) },
                { kernel in
                    #expect(state.value == (0, 0))
                    end(kernel, sockets[1 - first], -ECANCELED)
                },
                { _ in
                    #expect(service.freezing == 0 && state.value == (0, 1))
                    #expect(service.sessions.isEmpty && service.pool.connections(of: 0) == 0)
                },
            ])
        // The host of this test drops what it is given.
        #expect(try client.isAtEnd() && server.isAtEnd())
    }

    private func thaw(_ service: ProxyService, _ loop: EventLoop, _ sockets: [Int32]) {
        let pair = FrozenPair(
            upstreamAddress: .ipv4(1, port: 1), lastActivity: .now, client: .none, upstream: .none)!
        do {
            try service.start(
                ServiceHost(
                    loop: loop, ready: {}, connectionEnded: { state.update { $0.ended += 1 } },
                    frozen: { _ in state.update { $0.frozen += 1 } }))
        } catch {
            Issue.record("\(error)")
        }
        let isThawed = service.thaw(
            FrozenConnection(
                listener: 0, peer: .ipv4(1, port: 2), acceptedAt: .now, sockets: sockets,
                state: FrozenState.pair(pair).encoded))
        #expect(isThawed)
        #expect(service.pool.connections(of: 0) == 1)
    }

    /// Completes the receive at this socket with `result`, and its cancellation.
    private func end(_ kernel: ScriptedKernel, _ socket: Int32, _ result: Int32) {
        let receive = kernel.inFlight.first { submission in
            if case .receive(let fd, _) = submission.operation { fd == socket } else { false }
        }
        guard let target = receive?.userData else {
            Issue.record("no receive is in flight")
            return
        }
        let cancellation = kernel.inFlight.first { submission in
            if case .cancel(target) = submission.operation { true } else { false }
        }
        kernel.complete(target, result)
        if let cancellation { kernel.complete(cancellation.userData, result == -ECANCELED ? 0 : -ENOENT) }
    }
}
