/// A timer of one loop. Arm it as often as needed; it fires once per arming, on the loop's thread. Timers with one
/// deadline fire in the order in which they were armed.
///
/// Keep a reference while it is armed only if you want to cancel it: an armed timer is kept alive by its loop.
public final class LoopTimer {
    private let loop: EventLoop
    private let action: () -> Void
    /// When it fires; ``MonotonicTime/distantFuture`` when it is not armed.
    public fileprivate(set) var deadline = MonotonicTime.distantFuture
    /// Position in the loop's heap, or -1 when not armed.
    fileprivate var index = -1
    /// Which arming of the loop's timers this is: of two with one deadline, the one armed first fires first.
    fileprivate var arming: UInt64 = 0

    fileprivate static func isEarlier(_ left: LoopTimer, _ right: LoopTimer) -> Bool {
        (left.deadline, left.arming) < (right.deadline, right.arming)
    }

    /// A timer that is not armed yet. Loop thread, as all its methods.
    public init(_ loop: EventLoop, action: @escaping () -> Void) {
        self.loop = loop
        self.action = action
    }

    /// Whether it will fire.
    public var isArmed: Bool { deadline != .distantFuture }

    /// Fires at `deadline`, or in the coming turn when that has passed; ``MonotonicTime/distantFuture`` is never.
    /// Replaces an earlier arming.
    public func arm(at deadline: MonotonicTime) {
        loop.preconditionOnLoop()
        cancel()
        guard deadline != .distantFuture else { return }
        self.deadline = deadline
        loop.timers.insert(self)
    }

    /// Fires after `delay`; zero and less mean the coming turn.
    public func arm(after delay: Duration) {
        arm(at: loop.now + delay)
    }

    /// Does not fire any more. Harmless when it is not armed.
    public func cancel() {
        loop.preconditionOnLoop()
        if index >= 0 { loop.timers.remove(self) }
        // It may be due in the round that is being fired; without a deadline that round skips it.
        deadline = .distantFuture
    }

    fileprivate func fire() {
        action()
    }
}

/// A binary heap of armed timers, the earliest first. Each timer knows its place, so cancelling is a plain removal.
final class TimerHeap {
    private var timers: [LoopTimer] = []
    private var armings: UInt64 = 0

    var count: Int { timers.count }
    /// The first deadline. Stored, since each turn asks for it several times.
    private(set) var earliest = MonotonicTime.distantFuture

    private func noteEarliest() {
        earliest = timers.first?.deadline ?? .distantFuture
    }

    func insert(_ timer: LoopTimer) {
        assert(timer.index == -1)
        armings += 1
        timer.arming = armings
        timers.append(timer)
        timer.index = timers.count - 1
        siftUp(timer.index)
        noteEarliest()
    }

    func remove(_ timer: LoopTimer) {
        let index = timer.index
        assert(timers[index] === timer)
        defer { noteEarliest() }
        let last = timers.removeLast()
        timer.index = -1
        guard last !== timer else { return }
        timers[index] = last
        last.index = index
        siftDown(index)
        siftUp(last.index)
    }

    /// Fires what is due at `now`. A timer armed meanwhile waits for the next turn at the earliest, so that this ends.
    func fireDue(_ now: MonotonicTime) {
        var due: [LoopTimer] = []
        while let first = timers.first, first.deadline <= now {
            remove(first)
            due.append(first)
        }
        // One fired earlier in this round may have cancelled or re-armed a later one.
        for timer in due where timer.index == -1 && timer.deadline != .distantFuture {
            timer.deadline = .distantFuture
            timer.fire()
        }
    }

    /// Forgets all, firing none.
    func removeAll() {
        for timer in timers {
            timer.index = -1
            timer.deadline = .distantFuture
        }
        timers.removeAll()
        noteEarliest()
    }

    private func siftUp(_ start: Int) {
        var child = start
        while child > 0 {
            let parent = (child - 1) / 2
            guard LoopTimer.isEarlier(timers[child], timers[parent]) else { return }
            swapAt(child, parent)
            child = parent
        }
    }

    private func siftDown(_ start: Int) {
        var parent = start
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < timers.count {
                if LoopTimer.isEarlier(timers[child], timers[least]) { least = child }
            }
            guard least != parent else { return }
            swapAt(parent, least)
            parent = least
        }
    }

    private func swapAt(_ left: Int, _ right: Int) {
        timers.swapAt(left, right)
        timers[left].index = left
        timers[right].index = right
    }
}
