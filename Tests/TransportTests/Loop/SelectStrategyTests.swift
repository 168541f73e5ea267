import Synchronization
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Event loop: select strategies")
struct SelectStrategyTests {
    /// Answers from a list, then blocks; notes what it was told.
    private struct Scripted: SelectStrategy {
        let answers: [SelectDecision]
        let told: Log<SelectContext>

        mutating func select(_ context: SelectContext) -> SelectDecision {
            told.values.append(context)
            let index = told.values.count - 1
            return index < answers.count ? answers[index] : .block
        }
    }

    private struct Always: SelectStrategy {
        let decision: SelectDecision

        func select(_ context: SelectContext) -> SelectDecision { decision }
    }

    /// Runs a loop until it would sleep for ever. Returns the waits and what the strategy was told.
    private static func run(
        _ answers: [SelectDecision], setUp: (EventLoop, VirtualHandler) -> Void = { _, _ in }
    ) throws -> (handler: VirtualHandler, told: [SelectContext], statistics: EventLoopStatistics) {
        let handler = VirtualHandler()
        let told = Log<SelectContext>()
        var configuration = EventLoopConfiguration()
        configuration.selectStrategy = Scripted(answers: answers, told: told)
        let loop = try handler.makeLoop(configuration)
        setUp(loop, handler)
        #expect(try loop.run() == 0)
        return (handler, told.values, loop.statistics)
    }

    @Test("the strategy is asked once per turn, however many tasks there are")
    func oncePerTurn() throws {
        let result = try Self.run([]) { loop, _ in
            for _ in 0..<200 { loop.remote.execute { _ in } }
        }
        #expect(result.told.count == Int(result.statistics.turns))
        #expect(result.statistics.tasks == 200)
    }

    @Test("work is told: a task, a tail task, a timer that is due; and nothing else")
    func hasWork() throws {
        #expect(try Self.run([]).told.map(\.hasWork) == [false])
        let task = try Self.run([]) { loop, _ in loop.remote.execute { _ in } }
        #expect(task.told.map(\.hasWork) == [true, false])
        let tail = try Self.run([]) { loop, _ in loop.executeAtEndOfTurn {} }
        #expect(tail.told.map(\.hasWork) == [true, false])
        let due = try Self.run([]) { loop, _ in LoopTimer(loop) {}.arm(after: .zero) }
        #expect(due.told.map(\.hasWork) == [true, false])
        let later = try Self.run([]) { loop, _ in LoopTimer(loop) {}.arm(after: .seconds(1)) }
        #expect(later.told.map(\.hasWork) == [false, false])
        #expect(later.told.map(\.wasIdle) == [false, false])
        #expect(try Self.run([.poll, .poll]).told.map(\.wasIdle) == [false, true, true])
    }

    @Test("block sleeps until the next timer, and for ever without one")
    func block() throws {
        let result = try Self.run([]) { loop, _ in LoopTimer(loop) {}.arm(after: .seconds(3)) }
        #expect(result.handler.waits == [VirtualHandler.start + .seconds(3), .distantFuture])
        #expect(result.statistics.sleeps == 2)
    }

    @Test("block does not sleep on work")
    func blockWithWork() throws {
        let result = try Self.run([.block]) { loop, _ in loop.remote.execute { _ in } }
        #expect(result.handler.waits == [nil, .distantFuture])
    }

    @Test("poll does not sleep though nothing is to be done: a busy wait")
    func poll() throws {
        let result = try Self.run([.poll, .poll, .poll])
        #expect(result.handler.waits == [nil, nil, nil, .distantFuture])
        #expect(result.statistics.sleeps == 1)
    }

    @Test("skip leaves I/O out: tasks and timers run, the handler is not asked")
    func skip() throws {
        let runsBefore = Log<Int>()
        let result = try Self.run([.skip, .skip]) { loop, handler in
            LoopTimer(loop) { runsBefore.values.append(handler.waits.count) }.arm(after: .zero)
            loop.remote.execute { loop in
                loop.remote.execute { _ in runsBefore.values.append(handler.waits.count) }
            }
        }
        #expect(runsBefore.values == [0, 0])
        #expect(result.statistics.turns == 3 && result.handler.waits == [.distantFuture])
    }

    @Test("a strategy that only ever skips gets I/O every so often all the same")
    func skipBound() throws {
        let handler = VirtualHandler()
        var configuration = EventLoopConfiguration()
        configuration.selectStrategy = Always(decision: .skip)
        let loop = try handler.makeLoop(configuration)
        handler.onRun = { if $0 == 2 { loop.remote.stop() } }
        #expect(try loop.run() == 0)
        #expect(handler.waits == [nil, nil, nil])
        #expect(loop.statistics.turns == UInt64(3 * (SelectContext.skipsInRowMax + 1)))
    }

    @Test("spin-then-block polls for its duration after the last work, then sleeps")
    func spin() {
        var strategy = SpinThenBlock(for: .microseconds(50))
        func at(_ microseconds: Int, hasWork: Bool = false, wasIdle: Bool = true) -> SelectDecision {
            let now = VirtualHandler.start + .microseconds(microseconds)
            return strategy.select(SelectContext(hasWork: hasWork, wasIdle: wasIdle, now: now))
        }
        #expect(at(0) == .block, "no work yet")
        #expect(at(10, hasWork: true) == .poll)
        #expect(at(59) == .poll && at(60) == .block && at(70) == .block)
        #expect(at(80, wasIdle: false) == .poll)
        #expect(at(129) == .poll && at(130) == .block)
    }

    @Test("spinning for ever does not overflow")
    func spinForEver() {
        var strategy = SpinThenBlock(for: .seconds(Int64.max))
        let now = VirtualHandler.start
        #expect(strategy.select(SelectContext(hasWork: true, wasIdle: false, now: now)) == .poll)
        let late = SelectContext(hasWork: false, wasIdle: true, now: now + .seconds(1_000_000))
        #expect(strategy.select(late) == .poll)
    }

}
