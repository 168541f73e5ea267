import Dispatch
import NIOCore
import RingmasterNIO
import Testing

import enum Transport.TransportKind

@testable import TransportTesting

@Suite("Event loop: waiting for it", .timeLimit(.minutes(1)))
struct WaitingTests {
    @Test("another thread may wait for a future, and for the end of the group", arguments: TransportKind.here)
    func elsewhere(kind: TransportKind) throws {
        let group = try RingEventLoopGroup(numberOfThreads: 2, transport: kind == .epoll ? .epoll : .ioUring)
        #expect(try group.next().submit { 1 }.wait() == 1)
        try group.syncShutdownGracefully()
        try group.syncShutdownGracefully()
    }

    @Test("a loop that waits for a future ends the process and says why, whosever future it is")
    func waitOnLoop() async {
        let own = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
            let loop = try RingEventLoopGroup(numberOfThreads: 1, transport: .epoll).next()
            _ = try await loop.submit { try loop.submit { 1 }.wait() }.get()
        }
        #expect(standardError(own).contains("wait() on an event loop's thread"))
        let other = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
            let group = try RingEventLoopGroup(numberOfThreads: 2, transport: .epoll)
            let (loop, other) = (group.next(), group.next())
            _ = try await loop.submit { try other.submit { 1 }.wait() }.get()
        }
        #expect(standardError(other).contains("wait() on an event loop's thread"))
    }

    @Test("a loop that waits for the end of a group ends the process and says why")
    func shutdownOnLoop() async {
        let own = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
            let group = try RingEventLoopGroup(numberOfThreads: 1, transport: .epoll)
            try await group.next().submit { try group.syncShutdownGracefully() }.get()
        }
        #expect(standardError(own).contains("an event loop cannot wait for the end of a group"))
        let other = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
            let group = try RingEventLoopGroup(numberOfThreads: 1, transport: .epoll)
            let others = try RingEventLoopGroup(numberOfThreads: 1, transport: .epoll)
            try await group.next().submit { try others.syncShutdownGracefully() }.get()
        }
        #expect(standardError(other).contains("an event loop cannot wait for the end of a group"))
    }
}
