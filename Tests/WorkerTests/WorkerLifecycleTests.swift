import Handoff
import Testing

@testable import Worker

private enum Event: CaseIterable {
    case ready, adoptOne, adoptTwo, ended, cutOne, drain, orphaned, cut
}

/// What must be so after any events, worked out from the events alone.
private struct Expectation {
    static let capacity = 2

    var wasReady = false
    var live = 0
    var forced = 0
    var drainCode: ExitCode?
    var wasCut = false

    var hasLeft: Bool { wasCut || (drainCode != nil && live == 0) }
    var exitCode: ExitCode { drainCode ?? (wasCut ? .success : .internalError) }
    var credit: Int { wasReady && drainCode == nil && !wasCut ? max(0, Self.capacity - live) : 0 }
}

/// A lifecycle and what it should be, taken through every sequence of events.
private struct Walk {
    var lifecycle = WorkerLifecycle(capacity: Expectation.capacity)
    var expected = Expectation()
    /// Once left by the last connection's end, it stays left, though the rule above would say so of any empty drain.
    var hasLeft = false

    /// Whether the shell could cause `event` now: it adopts nothing once it leaves, and ends only what lives.
    func isPossible(_ event: Event) -> Bool {
        switch event {
        case .adoptOne, .adoptTwo: !hasLeft
        case .ended: expected.live > 0
        case .cutOne: expected.live > 0 && !hasLeft
        case .ready, .drain, .orphaned, .cut: true
        }
    }

    mutating func take(_ event: Event) -> [WorkerLifecycle.Action] {
        switch event {
        case .ready:
            let isFirst = !expected.wasReady && expected.drainCode == nil && !expected.wasCut
            if isFirst { expected.wasReady = true }
            #expect(lifecycle.serviceReady() == (isFirst ? [.sayReady] : []))
            return []
        case .adoptOne, .adoptTwo:
            let count = event == .adoptOne ? 1 : 2
            expected.live += count
            lifecycle.adopted(count)
            return []
        case .ended:
            expected.live -= 1
            return lifecycle.connectionEnded()
        case .cutOne:
            expected.live -= 1
            expected.forced += 1
            return lifecycle.connectionCut()
        case .drain, .orphaned:
            if !hasLeft, expected.drainCode == nil { expected.drainCode = event == .drain ? .success : .orphaned }
            return lifecycle.drain(.seconds(1), then: event == .drain ? .success : .orphaned)
        case .cut:
            if !hasLeft {
                expected.wasCut = true
                expected.forced += expected.live
            }
            return lifecycle.cut(offered: 0)
        }
    }

    /// What the shell must be told to do by `event`.
    func actionsExpected(after event: Event) -> [WorkerLifecycle.Action] {
        if hasLeft { return [] }
        switch event {
        case .ready, .adoptOne, .adoptTwo: return []
        case .ended, .cutOne: return expected.hasLeft ? [.stopLoop] : []
        case .drain, .orphaned: return expected.hasLeft ? [.stopLoop] : [.drain(.seconds(1))]
        case .cut: return [.closeAll(forced: expected.live), .stopLoop]
        }
    }

    /// Takes every possible sequence of up to `depth` more events; returns how many there were.
    func explore(_ depth: Int, _ path: [Event] = []) -> Int {
        guard depth > 0 else { return 0 }
        var count = 0
        for event in Event.allCases where isPossible(event) {
            var next = self
            let actions = next.take(event)
            let path = path + [event]
            #expect(actions == next.actionsExpected(after: event), "\(path)")
            if next.expected.hasLeft { next.hasLeft = true }
            next.check(path)
            count += 1 + next.explore(depth - 1, path)
        }
        return count
    }

    private func check(_ path: [Event]) {
        let isRight =
            lifecycle.live == expected.live && lifecycle.forced == expected.forced
            && lifecycle.credit == expected.credit && lifecycle.exitCode == expected.exitCode
            && lifecycle.isLeaving == hasLeft
        #expect(isRight, "\(path): \(lifecycle), expected \(expected)")
    }
}

@Suite("worker lifecycle")
struct WorkerLifecycleTests {
    @Test("whatever happens, in whatever order: it leaves once, counts right, and has credit only while it serves")
    func everySequence() {
        #expect(Walk().explore(6) > 10_000)
    }

    @Test("credit is what is left of the capacity, and never negative when more was sent than that")
    func credit() {
        var lifecycle = WorkerLifecycle(capacity: 2)
        #expect(lifecycle.credit == 0, "not ready yet")
        #expect(lifecycle.serviceReady() == [.sayReady])
        var credits = [lifecycle.credit]
        for _ in 0..<3 {
            lifecycle.adopted(1)
            credits.append(lifecycle.credit)
        }
        #expect(credits == [2, 1, 0, 0])
        #expect(lifecycle.connectionEnded() == [])
        #expect(lifecycle.connectionEnded() == [])
        #expect(lifecycle.credit == 1)
    }

    @Test("a drain moves connections away if it is told a rate, unless there are none")
    func migrates() {
        var lifecycle = WorkerLifecycle(capacity: 2)
        _ = lifecycle.serviceReady()
        lifecycle.adopted(2)
        let grace = Duration.seconds(5)
        #expect(
            lifecycle.drain(grace, then: .success, migrationsPerSecond: 3) == [.migrate(grace, perSecond: 3)])
        #expect(lifecycle.drain(grace, then: .orphaned) == [.drain(grace)], "and no more then")
        #expect(
            lifecycle.drain(grace, then: .success, migrationsPerSecond: 4) == [.migrate(grace, perSecond: 4)])
        #expect(lifecycle.connectionEnded() == [])
        #expect(lifecycle.connectionEnded() == [.stopLoop])
        #expect(lifecycle.drain(grace, then: .success, migrationsPerSecond: 3) == [])
        #expect(lifecycle.exitCode == .success)

        var empty = WorkerLifecycle(capacity: 2)
        #expect(empty.drain(grace, then: .success, migrationsPerSecond: 3) == [.stopLoop])
    }
}
