import Foundation
import NIOCore
import Testing
import Transport

@testable import RingmasterNIO
@testable import TransportTesting

/// A service on a loop of a thread of its own, and what it tells its host.
final class Stage: Sendable {
    let ready = Recorder<Bool>()
    let failures = Recorder<String>()
    let ended = Counter()
    private let unfinished = Recorder<Int>()
    private let service: NIOService
    private let remote: EventLoopRemote

    init(_ kind: TransportKind, _ service: NIOService) throws {
        self.service = service
        let (ready, failures, ended, unfinished) = (ready, failures, ended, unfinished)
        let made = Recorder<EventLoopRemote>()
        Thread.detachNewThread {
            do {
                var configuration = EventLoopConfiguration()
                configuration.transport = kind
                let loop = try Transport.EventLoop(configuration)
                try service.start(
                    ServiceHost(
                        loop: loop, ready: { ready.record(true) }, connectionEnded: { ended.increment() },
                        frozen: { _ in }, failed: { failures.record("\($0)") }))
                made.record(loop.remote)
                unfinished.record(try loop.run())
            } catch {
                Issue.record("the loop's thread: \(error)")
            }
        }
        remote = try made.next()
    }

    /// Does something on the loop's thread.
    func on(_ body: @escaping @Sendable (NIOService) -> Void) {
        let service = service
        #expect(remote.execute { _ in body(service) })
    }

    /// Gives the service a connection; returns its other end, which has sent `text` before.
    func connect(sending text: String = "") throws -> Peer {
        var ends: [Int32] = [-1, -1]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0 else {
            throw SystemError("socketpair", code: errno)
        }
        let (ours, peer) = (ends[0], Peer(fd: ends[1]))
        try peer.send(text)
        on {
            $0.serve(
                IncomingConnection(fd: ours, listener: 0, peer: .unix(path: ""), acceptedAt: .now, isShared: false))
        }
        return peer
    }

    /// Stops the service, then the loop.
    func finish() throws {
        let remote = remote
        on { service in service.stop { remote.stop() } }
        #expect(try unfinished.next() == 0)
    }
}
