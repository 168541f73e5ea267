import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Timers: the heap")
struct TimerHeapTests {
    private let loop: EventLoop

    init() throws { loop = try EventLoop(TransportMode.epoll.configuration) }

    private static func moment(_ nanoseconds: UInt64) -> MonotonicTime { MonotonicTime(nanoseconds: nanoseconds) }

    private final class Log {
        var fired: [Int] = []
    }

    @Test("random arming, cancelling and firing agree with a sorted list", arguments: UInt64(1)...6)
    func model(seed: UInt64) {
        // The loop never runs, so it would not let go of what is still armed.
        defer { loop.timers.removeAll() }
        var generator = SeededGenerator(seed: seed)
        let log = Log()
        let timers = (0..<50).map { index in LoopTimer(loop) { log.fired.append(index) } }
        var model: [Int: UInt64] = [:]
        var now: UInt64 = 1000
        for _ in 0..<2000 {
            let index = Int.random(in: 0..<timers.count, using: &generator)
            switch Int.random(in: 0..<10, using: &generator) {
            case ..<6:
                let deadline = now + UInt64.random(in: 0...500, using: &generator)
                timers[index].arm(at: Self.moment(deadline))
                model[index] = deadline
            case ..<8:
                timers[index].cancel()
                model[index] = nil
            default:
                now += UInt64.random(in: 0...200, using: &generator)
                log.fired = []
                loop.timers.fireDue(Self.moment(now))
                let due = model.filter { $0.value <= now }
                #expect(Set(log.fired) == Set(due.keys) && log.fired.count == due.count)
                let order = log.fired.map { due[$0] ?? 0 }
                #expect(order == order.sorted())
                model = model.filter { $0.value > now }
            }
            #expect(loop.timers.count == model.count)
            #expect(loop.timers.earliest == model.values.min().map(Self.moment) ?? .distantFuture)
            #expect(timers[index].isArmed == (model[index] != nil))
        }
    }

    @Test("a timer cancelled by one that fires before it in the same round does not fire")
    func cancelledInRound() {
        let log = Log()
        let second = LoopTimer(loop) { log.fired.append(2) }
        let first = LoopTimer(loop) {
            log.fired.append(1)
            #expect(second.isArmed, "due, and still to fire")
            second.cancel()
            #expect(!second.isArmed)
        }
        first.arm(at: Self.moment(1))
        second.arm(at: Self.moment(2))
        loop.timers.fireDue(Self.moment(5))
        #expect(log.fired == [1] && loop.timers.count == 0)
    }

    @Test("a timer re-armed by one that fires before it in the same round fires at its new time only")
    func rearmedInRound() {
        let log = Log()
        let second = LoopTimer(loop) { log.fired.append(2) }
        let first = LoopTimer(loop) {
            log.fired.append(1)
            second.arm(at: Self.moment(9))
        }
        first.arm(at: Self.moment(1))
        second.arm(at: Self.moment(2))
        loop.timers.fireDue(Self.moment(5))
        #expect(log.fired == [1] && second.isArmed)
        loop.timers.fireDue(Self.moment(9))
        #expect(log.fired == [1, 2] && !second.isArmed)
    }

    @Test("a timer that re-arms itself for the past fires in the next round, not for ever in this one")
    func rearmsItself() {
        let log = Log()
        var timer: LoopTimer?
        timer = LoopTimer(loop) {
            log.fired.append(log.fired.count)
            timer?.arm(at: Self.moment(1))
        }
        timer?.arm(at: Self.moment(1))
        loop.timers.fireDue(Self.moment(5))
        #expect(log.fired == [0])
        loop.timers.fireDue(Self.moment(5))
        #expect(log.fired == [0, 1])
        timer?.cancel()
        timer = nil
    }

    @Test("a timer armed for the distant future never fires")
    func distantFuture() {
        let log = Log()
        let timer = LoopTimer(loop) { log.fired.append(1) }
        timer.arm(after: .seconds(Int64.max))
        #expect(!timer.isArmed && loop.timers.earliest == .distantFuture)
        loop.timers.fireDue(.distantFuture)
        #expect(log.fired == [])
    }

    @Test("the heap keeps an armed timer alive, and lets go of it when it has fired")
    func ownership() {
        weak var timer: LoopTimer?
        do {
            let armed = LoopTimer(loop) {}
            armed.arm(at: Self.moment(1))
            timer = armed
        }
        #expect(timer != nil)
        loop.timers.fireDue(Self.moment(1))
        #expect(timer == nil)
    }
}
