import Foundation
import Hummingbird
import Logging
import RingmasterNIO
import ServiceLifecycle
import Testing
import Transport

@testable import RingmasterHummingbird
@testable import TransportTesting

@Suite("An application's services in a worker", .timeLimit(.minutes(1)))
struct ApplicationServiceTests {
    private struct NoBread: Error, CustomStringConvertible {
        var description: String { "there is no bread" }
    }

    /// What happens, in order.
    private struct Events: Sendable {
        let stream: AsyncStream<String>
        private let continuation: AsyncStream<String>.Continuation

        init() { (stream, continuation) = AsyncStream.makeStream() }

        func tell(_ event: String) { continuation.yield(event) }

        /// The first of them, as many as are asked for.
        func first(_ count: Int) async -> [String] {
            await stream.prefix(count).reduce(into: []) { $0.append($1) }
        }
    }

    /// A service of an application that tells what becomes of it, and fails when it is told to.
    private struct Baker: ServiceLifecycle.Service {
        let events: Events
        let orders: AsyncStream<Void>

        func run() async throws {
            events.tell("started")
            for await _ in orders.cancelOnGracefulShutdown() { throw NoBread() }
            events.tell("finished")
        }
    }

    /// A worker's loop on a thread of its own, with an application of that one service.
    private struct Worker {
        let events = Events()
        private let order: AsyncStream<Void>.Continuation
        private let service: NIOService
        private let remote: EventLoopRemote

        init() throws {
            let (orders, order) = AsyncStream<Void>.makeStream()
            var logger = Logger(label: "test")
            logger.logLevel = .critical
            let service = HummingbirdService.make(
                router: Router(), services: [Baker(events: events, orders: orders)], logger: logger)
            (self.order, self.service) = (order, service)
            let (events, made) = (events, Recorder<EventLoopRemote>())
            Thread.detachNewThread {
                do {
                    let loop = try Transport.EventLoop(TransportMode.usual.configuration)
                    try service.start(
                        ServiceHost(
                            loop: loop, ready: {}, connectionEnded: {}, frozen: { _ in },
                            failed: { events.tell("failed: \($0)") }))
                    made.record(loop.remote)
                    _ = try loop.run()
                    events.tell("left")
                } catch {
                    Issue.record("the loop's thread: \(error)")
                }
            }
            remote = try made.next()
        }

        func fail() { order.yield() }

        func stop() {
            let (service, remote) = (service, remote)
            #expect(remote.execute { _ in service.stop { remote.stop() } })
        }
    }

    @Test("one that fails while it serves is the worker's end, with the reason")
    func fails() async throws {
        let worker = try Worker()
        worker.fail()
        #expect(await worker.events.first(2) == ["started", "failed: there is no bread"])
        worker.stop()
        #expect(await worker.events.first(1) == ["left"])
    }

    @Test("a worker that leaves has them finish, and that is no failure")
    func finishes() async throws {
        let worker = try Worker()
        #expect(await worker.events.first(1) == ["started"])
        worker.stop()
        #expect(await worker.events.first(2) == ["finished", "left"])
    }
}
