import Foundation
import Synchronization
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Event loop: how many tasks, for how long")
struct TaskLimitTests {
    // MARK: Time

    /// Tasks of 1 ms each, a thousand of them, and how many ran before each of the handler's runs.
    private static func runs(
        _ configure: (inout TaskConfiguration) -> Void, eachRun: @escaping (VirtualHandler) -> Void = { _ in },
        setUp: (EventLoop, VirtualHandler) -> Void = { _, _ in }
    ) throws -> (perTurn: [Int], order: [Int], handler: VirtualHandler) {
        let handler = VirtualHandler()
        var configuration = EventLoopConfiguration()
        configure(&configuration.tasks)
        let loop = try handler.makeLoop(configuration)
        let ran = Log<Int>()
        let before = Log<Int>()
        handler.onRun = { _ in
            before.values.append(ran.values.count)
            eachRun(handler)
        }
        setUp(loop, handler)
        for index in 0..<1000 {
            loop.remote.execute { _ in
                handler.advance(.milliseconds(1))
                ran.values.append(index)
            }
        }
        #expect(try loop.run() == 0)
        let perTurn = zip(before.values, before.values.dropFirst()).map { $1 - $0 }
        return (perTurn, ran.values, handler)
    }

    @Test("tasks stop at the first look at the clock after their time; the rest follow in order, without a sleep")
    func timeMax() throws {
        let result = try Self.runs { $0.timeMax = .milliseconds(100) }
        #expect(result.perTurn.filter { $0 > 0 } == [128, 128, 128, 128, 128, 128, 128, 104])
        #expect(result.order == Array(0..<1000))
        #expect(result.handler.waits.prefix(8).allSatisfy { $0 == nil })
    }

    @Test("with no time at all tasks still come by, so many per turn")
    func noTime() throws {
        let result = try Self.runs { $0.timeMax = .zero }
        #expect(result.perTurn.prefix(15) == [64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64])
        #expect(result.order == Array(0..<1000))
    }

    @Test("at an I/O ratio of 100 the bound alone counts")
    func ratio100() throws {
        let result = try Self.runs {
            $0.timeMax = .seconds(10)
            $0.ioRatio = 100
        }
        #expect(result.perTurn[0] == 1000)
    }

    @Test("tasks get as much time as the turn's completions took, by the ratio", arguments: [(50, 256), (80, 64)])
    func ratio(_ ioRatio: Int, _ tasksPerTurn: Int) throws {
        var watch: ReadinessWatch?
        let result = try Self.runs {
            $0.timeMax = .seconds(10)
            $0.ioRatio = ioRatio
        } eachRun: { handler in
            if handler.isInFlight(.poll) { handler.complete(.poll, 1) }
        } setUp: { loop, handler in
            watch = ReadinessWatch(loop, fd: 0) {
                handler.advance(.milliseconds(200))
                // Ends the test: nothing completes any more.
                if handler.elapsed > .seconds(5) { loop.remote.stop() }
            }
        }
        #expect(watch != nil)
        #expect(result.perTurn[0] == tasksPerTurn && result.perTurn[1] == tasksPerTurn)
        #expect(result.order == Array(0..<1000))
    }

    @Test("the time for tasks: the ratio's share, the bound at most, and no overflow")
    func deadline() {
        var configuration = TaskConfiguration()
        configuration.timeMax = .milliseconds(100)
        let start = VirtualHandler.start
        #expect(configuration.deadline(from: start, ioNanoseconds: 0) == start + .milliseconds(100))
        configuration.ioRatio = 50
        #expect(configuration.deadline(from: start, ioNanoseconds: 7_000_000) == start + .milliseconds(7))
        #expect(configuration.deadline(from: start, ioNanoseconds: 700_000_000) == start + .milliseconds(100))
        configuration.ioRatio = 20
        #expect(configuration.deadline(from: start, ioNanoseconds: 7_000_000) == start + .milliseconds(28))
        configuration.ioRatio = 1
        #expect(configuration.deadline(from: start, ioNanoseconds: .max) == start + .milliseconds(100))
        configuration.timeMax = .seconds(Int64.max)
        configuration.ioRatio = 100
        #expect(configuration.deadline(from: start, ioNanoseconds: 0) == .distantFuture)
    }

    @Test("I/O gets its turn between tasks that each queue another")
    func endlessTasks() throws {
        let handler = VirtualHandler()
        let loop = try handler.makeLoop()
        let count = Log<Int>()
        @Sendable func again(_ loop: EventLoop) {
            count.values.append(0)
            loop.remote.execute(again)
        }
        loop.remote.execute(again)
        handler.onRun = { if $0 == 50 { loop.remote.stop() } }
        #expect(try loop.run() == 0)
        #expect(handler.waits.count == 51)
        // One per turn, and the one that the stop still runs.
        #expect(count.values.count == 52)
    }

    // MARK: Number

    private static func remote(_ countMax: Int, _ rejection: TaskRejectionPolicy) throws -> EventLoopRemote {
        var configuration = TaskConfiguration()
        configuration.countMax = countMax
        configuration.rejection = rejection
        return try EventLoopRemote(tasks: configuration)
    }

    @Test("a full queue refuses, counts it, and takes tasks again when some have been taken")
    func refuse() throws {
        let remote = try Self.remote(3, .refuse)
        for _ in 0..<3 { #expect(remote.execute { _ in }) }
        #expect(!remote.execute { _ in } && !remote.execute { _ in })
        #expect(remote.rejectedTaskCount == 2 && remote.taskCount == 3)
        #expect(remote.takeTasks(2).count == 2)
        #expect(remote.execute { _ in } && remote.execute { _ in })
        #expect(!remote.execute { _ in })
        #expect(remote.taskCount == 3 && remote.rejectedTaskCount == 3)
    }

    @Test("tasks left over from a turn count: the queue never holds more than its bound")
    func leftOver() throws {
        let handler = VirtualHandler()
        var configuration = EventLoopConfiguration()
        configuration.tasks.countMax = 200
        configuration.tasks.timeMax = .zero
        let loop = try handler.makeLoop(configuration)
        let refused = Log<Int>()
        let counts = Log<Int>()
        for _ in 0..<200 {
            loop.remote.execute { loop in
                // Two for one, until the loop says no.
                for _ in 0..<2 where !loop.remote.execute({ _ in }) { refused.values.append(1) }
                counts.values.append(loop.remote.taskCount)
            }
        }
        #expect(try loop.run() == 0)
        #expect(counts.values.max() == 200)
        #expect(loop.remote.rejectedTaskCount == UInt64(refused.values.count) && !refused.values.isEmpty)
        #expect(loop.statistics.tasks == UInt64(200 + 400 - refused.values.count))
    }

    @Test("the closure of a full queue is given the task, on the caller's thread")
    func call() throws {
        let handed = Mutex<[EventLoopRemote.Task]>([])
        let caller = pthread_self()
        let remote = try Self.remote(
            1,
            .call { task in
                #expect(pthread_equal(pthread_self(), caller) != 0)
                handed.withLock { $0.append(task) }
            })
        #expect(remote.execute { _ in })
        let ran = Log<Int>()
        #expect(!remote.execute { _ in ran.values.append(7) })
        #expect(remote.rejectedTaskCount == 1)
        let loop = try VirtualHandler().makeLoop()
        for task in handed.withLock({ $0 }) { task(loop) }
        #expect(ran.values == [7])
    }

    @Test("a caller gives up after its retries, and that is one rejection")
    func waitInVain() throws {
        let remote = try Self.remote(1, .wait(retries: 3, delay: .milliseconds(2)))
        #expect(remote.execute { _ in })
        let start = MonotonicTime.now
        #expect(!remote.execute { _ in })
        #expect(MonotonicTime.now - start >= .milliseconds(6))
        #expect(remote.rejectedTaskCount == 1)
    }

    @Test("a caller does not wait for a loop that has ended")
    func waitAfterEnd() throws {
        let remote = try Self.remote(1, .wait(retries: 1000, delay: .seconds(1)))
        _ = remote.close()
        #expect(!remote.execute { _ in })
        #expect(remote.rejectedTaskCount == 1)
    }

    @Test("a configuration out of range ends the program", arguments: ["count", "time", "ratio", "retries", "delay"])
    func invalid(_ what: String) async {
        // One closure each: an exit test captures nothing.
        switch what {
        case "count": await #expect(processExitsWith: .failure) { _ = try Self.remote(0, .refuse) }
        case "time":
            await #expect(processExitsWith: .failure) {
                var configuration = TaskConfiguration()
                configuration.timeMax = .seconds(-1)
                _ = try EventLoopRemote(tasks: configuration)
            }
        case "ratio":
            await #expect(processExitsWith: .failure) {
                var configuration = TaskConfiguration()
                configuration.ioRatio = 0
                _ = try EventLoopRemote(tasks: configuration)
            }
        case "retries":
            await #expect(processExitsWith: .failure) { _ = try Self.remote(1, .wait(retries: 0, delay: .seconds(1))) }
        default:
            await #expect(processExitsWith: .failure) { _ = try Self.remote(1, .wait(retries: 1, delay: .zero)) }
        }
    }
}
