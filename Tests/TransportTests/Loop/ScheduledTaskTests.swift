import Foundation
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Event loop: scheduled tasks")
struct ScheduledTaskTests {
    /// Runs a loop by the virtual clock until nothing is scheduled any more, or for ten virtual seconds.
    /// Returns when the task has run.
    private static func moments(
        after delay: Duration, repeating repetition: Repetition = .never, costs: [Duration] = [], runsMax: Int = 5
    ) throws -> [Duration] {
        let handler = VirtualHandler()
        let loop = try handler.makeLoop()
        let moments = Log<Duration>()
        let task = Log<ScheduledTask>()
        task.values = [
            loop.schedule(after: delay, repeating: repetition) {
                moments.values.append(handler.elapsed)
                let run = moments.values.count - 1
                if run < costs.count { handler.advance(costs[run]) }
                if run == runsMax - 1 { task.values[0].cancel() }
            }
        ]
        #expect(try loop.run() == 0)
        return moments.values
    }

    private static func milliseconds(_ list: Int...) -> [Duration] { list.map { .milliseconds($0) } }

    @Test("a task runs once, when its delay has passed (netty 14)")
    func once() throws {
        #expect(try Self.moments(after: .seconds(1)) == [.seconds(1)])
        #expect(try Self.moments(after: .zero) == [.zero])
        #expect(try Self.moments(after: .seconds(-3)) == [.zero])
    }

    @Test("a delay beyond the clock's end neither overflows nor runs, and is cancelled (netty 14)")
    func bigDelay() throws {
        #expect(try Self.moments(after: .seconds(Int64.max)) == [])
        let handler = VirtualHandler()
        let loop = try handler.makeLoop()
        let task = loop.schedule(after: .seconds(Int64.max), repeating: .fixedRate(.seconds(Int64.max))) {}
        #expect(task.cancel() && task.isCancelled)
        #expect(try Self.moments(after: .seconds(1), repeating: .fixedRate(.seconds(Int64.max))) == [.seconds(1)])
        #expect(try Self.moments(after: .seconds(1), repeating: .fixedDelay(.seconds(Int64.max))) == [.seconds(1)])
    }

    @Test("at a fixed rate runs are due at multiples of the period, however long they take")
    func fixedRate() throws {
        let moments = try Self.moments(
            after: .milliseconds(5), repeating: .fixedRate(.milliseconds(10)),
            costs: Self.milliseconds(3, 9, 0, 10))
        #expect(moments == Self.milliseconds(5, 15, 25, 35, 45))
    }

    @Test("a run that took too long is made good at once, and the rhythm is kept")
    func fixedRateLate() throws {
        let moments = try Self.moments(
            after: .milliseconds(10), repeating: .fixedRate(.milliseconds(10)), costs: Self.milliseconds(25),
            runsMax: 5)
        // Due at 20 and 30, run at 35; then on time again.
        #expect(moments == Self.milliseconds(10, 35, 35, 40, 50))
    }

    @Test("a loop that was held up for long makes good so many runs and no more")
    func fixedRateBurst() throws {
        let moments = try Self.moments(
            after: .milliseconds(10), repeating: .fixedRate(.milliseconds(10)), costs: [.milliseconds(1005)],
            runsMax: 20)
        let burst = moments.filter { $0 == .milliseconds(1015) }.count
        // Those missed, and the one that is due.
        #expect(burst == Repetition.catchUpMax + 1)
        #expect(Array(moments[(burst + 1)...]) == (0..<10).map { .milliseconds(1020 + 10 * $0) })
    }

    @Test("with a fixed delay the pause follows each run")
    func fixedDelay() throws {
        let moments = try Self.moments(
            after: .milliseconds(5), repeating: .fixedDelay(.milliseconds(10)), costs: Self.milliseconds(3, 50))
        #expect(moments == Self.milliseconds(5, 18, 78, 88, 98))
    }

    @Test("the next run of a fixed rate: exactly due, just missed, far behind, at the clock's end")
    func next() {
        func at(_ nanoseconds: UInt64) -> MonotonicTime { MonotonicTime(nanoseconds: nanoseconds) }
        let rate = Repetition.fixedRate(.nanoseconds(10))
        #expect(rate.next(after: at(100), now: at(100)) == at(110))
        #expect(rate.next(after: at(100), now: at(110)) == at(110))
        #expect(rate.next(after: at(100), now: at(111)) == at(110))
        #expect(rate.next(after: at(100), now: at(199)) == at(110))
        #expect(rate.next(after: at(100), now: at(200)) == at(120))
        #expect(rate.next(after: at(100), now: at(.max - 1)) != nil)
        #expect(rate.next(after: at(.max - 5), now: at(.max - 5)) == .distantFuture)
        #expect(Repetition.fixedDelay(.nanoseconds(10)).next(after: at(0), now: at(100)) == at(110))
        #expect(Repetition.never.next(after: at(0), now: at(0)) == nil)
    }

    @Test("cancelling tells whether it made a difference")
    func cancel() throws {
        let handler = VirtualHandler()
        let loop = try handler.makeLoop()
        let ran = Log<String>()
        let cancelled = loop.schedule(after: .seconds(1)) { ran.values.append("cancelled") }
        #expect(cancelled.cancel() && !cancelled.cancel() && cancelled.isCancelled)
        let once = loop.schedule(after: .seconds(2)) { ran.values.append("once") }
        let repeated = loop.schedule(after: .seconds(2), repeating: .fixedDelay(.seconds(1))) {
            ran.values.append("repeated")
        }
        loop.schedule(after: .seconds(5) - .milliseconds(1)) { #expect(repeated.cancel()) }
        #expect(try loop.run() == 0)
        #expect(!once.cancel() && !once.isCancelled, "it has run")
        #expect(ran.values.filter { $0 == "once" }.count == 1 && !ran.values.contains("cancelled"))
        #expect(ran.values.filter { $0 == "repeated" }.count == 3)
    }

    @Test("a task cancelled before the loop has taken it up, or by one that is due in the same turn, does not run")
    func cancelEarly() throws {
        let handler = VirtualHandler()
        let loop = try handler.makeLoop()
        let early = try #require(loop.remote.schedule(after: .zero) { _ in Issue.record("ran") })
        #expect(early.cancel())
        var second: ScheduledTask?
        loop.schedule(after: .seconds(1)) { #expect(second?.cancel() == true) }
        second = loop.schedule(after: .seconds(1)) { Issue.record("ran") }
        #expect(try loop.run() == 0)
        #expect(second?.isCancelled == true)
    }

    @Test("what a task holds is let go of when it has run, when it is cancelled, and when the loop ends")
    func release() throws {
        final class Token {}
        let handler = VirtualHandler()
        var loop: EventLoop? = try handler.makeLoop()
        weak let weakLoop = loop
        func schedule(_ delay: Duration, _ repetition: Repetition) -> (token: () -> Token?, task: ScheduledTask) {
            let token = Token()
            weak let weakToken = token
            let task = loop!.schedule(after: delay, repeating: repetition) { withExtendedLifetime(token) {} }
            return ({ weakToken }, task)
        }
        let run = schedule(.seconds(1), .never)
        let cancelled = schedule(.seconds(100), .fixedRate(.seconds(1)))
        let pending = schedule(.seconds(1000), .fixedDelay(.seconds(1)))
        loop!.schedule(after: .seconds(2)) { [remote = loop!.remote] in
            #expect(run.token() == nil)
            cancelled.task.cancel()
            #expect(cancelled.token() == nil)
            #expect(pending.token() != nil)
            remote.stop()
        }
        #expect(try loop!.run() == 0)
        #expect(pending.token() == nil)
        loop = nil
        #expect(weakLoop == nil, "the handles keep no loop")
        withExtendedLifetime([run.task, cancelled.task, pending.task]) {}
    }

}
