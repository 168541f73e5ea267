import Foundation
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Event loop: timers")
struct EventLoopTimerTests {
    @Test("timers fire in the order of their deadlines, none before its time", arguments: TransportMode.available)
    func order(mode: TransportMode) throws {
        let thread = try LoopThread(mode)
        let log = Recorder<Int>()
        _ = try thread.on { loop in
            let start = MonotonicTime.now
            for milliseconds in [30, 10, 20, 0, 25] {
                LoopTimer(loop) {
                    #expect(MonotonicTime.now - start >= .milliseconds(milliseconds))
                    log.record(milliseconds)
                }.arm(after: .milliseconds(milliseconds))
            }
        }
        try log.wait { $0.count == 5 }
        #expect(log.all == [0, 10, 20, 25, 30])
        try thread.join()
    }

    @Test(
        "a timer for zero, or for the past, fires in the coming turn though nothing else wakes the loop",
        arguments: TransportMode.available)
    func zero(mode: TransportMode) throws {
        let thread = try LoopThread(mode)
        let log = Recorder<Int>()
        _ = try thread.on { loop in
            LoopTimer(loop) { log.record(1) }.arm(after: .zero)
            LoopTimer(loop) { log.record(2) }.arm(at: MonotonicTime(nanoseconds: 0))
            LoopTimer(loop) { log.record(3) }.arm(after: .seconds(-5))
        }
        try log.wait { Set($0) == [1, 2, 3] }
        try thread.join()
    }

    @Test(
        "a timer for the distant future neither overflows nor fires, and is cancelled (netty 14)",
        arguments: TransportMode.available)
    func distantFuture(mode: TransportMode) throws {
        let thread = try LoopThread(mode)
        let log = Recorder<Int>()
        _ = try thread.on { loop in
            let never = LoopTimer(loop) { log.record(0) }
            never.arm(after: .seconds(Int64.max))
            let late = LoopTimer(loop) { log.record(0) }
            late.arm(at: MonotonicTime(nanoseconds: .max - 1))
            LoopTimer(loop) {
                late.cancel()
                never.cancel()
                log.record(1)
            }.arm(after: .milliseconds(1))
        }
        #expect(try log.next() == 1)
        try thread.settle()
        #expect(log.all == [])
        try thread.join()
    }

    @Test(
        "5,000 timers that re-arm themselves, with random ones cancelled, all come to their end (netty 15)",
        arguments: TransportMode.available)
    func many(mode: TransportMode) throws {
        let thread = try LoopThread(mode)
        let done = Recorder<Int>()
        _ = try thread.on { loop in
            var generator = SeededGenerator(seed: 3)
            for index in 0..<5000 {
                let rounds = Int.random(in: 1...5, using: &generator)
                let period = Duration.microseconds(Int.random(in: 0...3000, using: &generator))
                let runner = Runner(loop, rounds: rounds, period: period) { done.record(index) }
                if index % 7 == 0 {
                    runner.timer?.cancel()
                    runner.timer = nil
                    done.record(index)
                }
            }
        }
        try done.wait(within: 20) { $0.count == 5000 }
        try thread.settle()
        #expect(Set(done.all).count == 5000)
        try thread.join()
    }

    /// Fires a timer a number of times. The loop keeps it alive until then.
    private final class Runner {
        var timer: LoopTimer?

        init(_ loop: EventLoop, rounds: Int, period: Duration, done: @escaping () -> Void) {
            var left = rounds
            timer = LoopTimer(loop) { [self] in
                left -= 1
                if left > 0 {
                    timer?.arm(after: period)
                } else {
                    timer = nil
                    done()
                }
            }
            timer?.arm(after: period)
        }
    }

    @Test("a timer that was armed again fires once, at the later time", arguments: TransportMode.available)
    func rearmed(mode: TransportMode) throws {
        let thread = try LoopThread(mode)
        let log = Recorder<Bool>()
        _ = try thread.on { loop in
            let start = MonotonicTime.now
            let timer = LoopTimer(loop) { log.record(MonotonicTime.now - start >= .milliseconds(15)) }
            timer.arm(after: .milliseconds(1))
            timer.arm(after: .milliseconds(15))
            LoopTimer(loop) { log.record(true) }.arm(after: .milliseconds(30))
        }
        try log.wait { $0.count == 2 }
        #expect(log.all == [true, true])
        try thread.join()
    }
}
