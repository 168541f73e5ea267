import CSocket
import Glibc
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Event loop: completions that outgrow the queue", .needsRing)
struct CompletionOverflowTests {
    /// A loop with a completion queue of eight, and so many watches of a descriptor that is readable. Returns in
    /// which turn each was first told, and in which turn each of the tasks ran that queue one another.
    private static func run(watches number: Int) throws -> (ready: [UInt64], tasks: [UInt64], overflows: UInt64) {
        var configuration = EventLoopConfiguration()
        configuration.uring.submissionEntries = 4
        configuration.uring.completionEntries = 8
        configuration.receiveBuffers = .none
        let loop = try EventLoop(configuration)
        // One descriptor for all: hundreds would be too many where descriptors are short.
        let fd = csocket_eventfd()
        try #require(fd >= 0 && csocket_eventfd_signal(fd) == 0)
        defer { close(fd) }
        let ready = Log<UInt64>()
        let tasks = Log<UInt64>()
        var watches: [ReadinessWatch] = []
        var told: Set<Int> = []
        for index in 0..<number {
            watches.append(
                ReadinessWatch(loop, fd: fd) {
                    // An overflow ends the poll, and its successor tells again.
                    guard told.insert(index).inserted else { return }
                    ready.values.append(loop.statistics.turns)
                    if ready.values.count == number { loop.remote.stop() }
                })
        }
        @Sendable func again(_ loop: EventLoop) {
            tasks.values.append(loop.statistics.turns)
            loop.remote.execute(again)
        }
        loop.remote.execute(again)
        #expect(try loop.run() == 0)
        return (ready.values, tasks.values, loop.completionOverflows)
    }

    @Test("what has overflowed is fetched in few turns: many times the queue's size in each")
    func flushed() throws {
        let result = try Self.run(watches: 400)
        #expect(result.overflows > 0, "the case was not reached")
        #expect(result.ready.count == 400)
        #expect(Set(result.ready).count <= 8, "in \(Set(result.ready).count) turns")
    }

    @Test("tasks have their turn between the pieces of a long overflow")
    func tasksMeanwhile() throws {
        let result = try Self.run(watches: 900)
        let turns = Set(result.ready)
        #expect(turns.count > 1, "one turn does not fetch without bound")
        #expect(turns.isSubset(of: result.tasks), "a task ran in each of these turns")
    }
}
