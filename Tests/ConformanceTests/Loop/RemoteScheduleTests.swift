import Foundation
import Synchronization
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Event loop: tasks scheduled from other threads")
struct RemoteScheduleTests {
    @Test(
        "a task scheduled from another thread runs on the loop's, not before its time",
        arguments: TransportMode.available)
    func remote(mode: TransportMode) throws {
        let thread = try LoopThread(mode)
        let log = Recorder<MonotonicTime>()
        let loopThread = try thread.on { _ in pthread_self() }
        let start = MonotonicTime.now
        thread.remote.schedule(after: .milliseconds(20)) { loop in
            #expect(pthread_equal(pthread_self(), loopThread) != 0 && loop.isCurrent)
            log.record(.now)
        }
        #expect(try log.next() - start >= .milliseconds(20))
        try thread.join()
        #expect(thread.remote.schedule(after: .zero) { _ in Issue.record("ran after the end") } == nil)
    }

    @Test(
        "5,000 tasks at a fixed rate, cancelled at random from other threads, all come to their end (netty 15)",
        arguments: TransportMode.available)
    func many(mode: TransportMode) throws {
        let thread = try LoopThread(mode)
        let counter = Recorder<Int>()
        var generator = SeededGenerator(seed: 7)
        var tasks: [ScheduledTask] = []
        for index in 0..<5000 {
            let period = Duration.milliseconds(Int.random(in: 50...500, using: &generator))
            let task = thread.remote.schedule(after: period, repeating: .fixedRate(period)) { _ in
                if index % 1000 == 0 { counter.record(index) }
            }
            tasks.append(try #require(task))
        }
        // Under a sanitizer on a busy machine they are more than the loop can do in time: each has its turn all the same.
        try counter.wait(within: 60) { Set($0).count == 5 }
        // Handles are Sendable: four threads cancel them, each handle twice.
        let order = (0..<5000).shuffled(using: &generator)
        let done = Recorder<Int>()
        let handles = tasks
        for part in 0..<4 {
            Thread.detachNewThread {
                let cancelled = order.filter { $0 % 4 == part || $0 % 4 == (part + 1) % 4 }.count {
                    handles[$0].cancel()
                }
                done.record(cancelled)
            }
        }
        let counts = try done.wait(within: 60) { $0.count == 4 }
        #expect(counts.reduce(0, +) == 5000, "each is cancelled once")
        try thread.settle()
        #expect(try thread.on { $0.timers.count } == 0)
        try thread.join()
    }
}
