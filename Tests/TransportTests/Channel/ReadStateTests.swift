import Glibc
import Testing

@testable import Transport
@testable import TransportTesting

/// Walks ReadState through every sequence of events that can happen, up to a length, beside a model of the kernel:
/// at most one receive, and at most one cancellation that may come too early, too late or in time.
@Suite("Read state")
struct ReadStateTests {
    enum Event: CaseIterable {
        case resume, pause
        case data, terminalData, endOfFile, noBuffers, failure
        case cancelSucceeds, cancelMisses
        case buffersReturned, parkedTold
    }

    /// The state under test with what the kernel and the connection would be doing.
    struct World {
        var state = ReadState()
        var isWanted = false
        var isReceiving = false
        var isCancelling = false
        var isInLine = false
        var parked = false
        var isOver = false

        /// Whether the event can happen now.
        func allows(_ event: Event) -> Bool {
            switch event {
            case .resume, .pause: true
            case .data, .terminalData, .endOfFile, .noBuffers, .failure: isReceiving
            case .cancelSucceeds: isCancelling && isReceiving
            case .cancelMisses: isCancelling
            case .buffersReturned: isInLine
            case .parkedTold: parked && isWanted
            }
        }

        /// Lets the event happen; returns what is wrong, if anything.
        mutating func happen(_ event: Event) -> String? {
            switch event {
            case .resume:
                isWanted = true
                return perform(state.resume())
            case .pause:
                isWanted = false
                return perform(state.pause())
            case .data:
                arrive()
                return nil
            case .terminalData:
                arrive()
                return end(1)
            case .endOfFile: return end(0)
            case .noBuffers: return end(-ENOBUFS)
            case .failure: return end(-ECONNRESET)
            case .cancelSucceeds:
                isCancelling = false
                return end(-ECANCELED)
            case .cancelMisses:
                isCancelling = false
                return perform(state.cancellationMissed())
            case .buffersReturned:
                isInLine = false
                return perform(state.buffersReturned())
            case .parkedTold:
                parked = false
                return perform(state.unparked())
            }
        }

        private mutating func arrive() {
            if isWanted, !parked { return }
            parked = true
            state.parked()
        }

        private mutating func end(_ result: Int32) -> String? {
            isReceiving = false
            return perform(state.ended(result))
        }

        private mutating func perform(_ action: ReadState.Action) -> String? {
            switch action {
            case .none: break
            case .arm:
                if isReceiving { return "two receives" }
                if !isWanted || parked { return "a receive that nobody wants" }
                if isOver { return "a receive after the end" }
                isReceiving = true
            case .cancel:
                if isWanted, !parked { return "a receive cancelled that is wanted" }
                isCancelling = isCancelling || isReceiving
            case .waitForBuffers:
                if isReceiving { return "in line while receiving" }
                isInLine = true
            case .watch:
                if isWanted { return "watching instead of receiving" }
            case .end, .fail:
                if isOver { return "two ends" }
                isOver = true
            }
            return violation
        }

        /// What must hold after every event: what is wanted is happening, or something is on its way that will see to it.
        private var violation: String? {
            if state.isWanted != isWanted { return "the wish was forgotten" }
            if state.hasParked != parked { return "parked bytes were forgotten" }
            if isOver { return isReceiving ? "receiving after the end" : nil }
            if isWanted, !parked, !isReceiving, !isInLine { return "stalled" }
            if !isWanted, isReceiving, !isCancelling { return "receiving on and on while paused" }
            return nil
        }
    }

    @Test("every sequence of up to 8 events keeps reading as it is wanted, with one receive at most")
    func exhaustive() {
        var count = 0
        var failures: [String] = []
        func walk(_ world: World, _ path: [Event], _ depth: Int) {
            guard depth > 0, failures.isEmpty else { return }
            for event in Event.allCases where world.allows(event) {
                var next = world
                count += 1
                if let violation = next.happen(event) {
                    failures.append("\(violation) after \(path + [event])")
                    return
                }
                walk(next, path + [event], depth - 1)
            }
        }
        for reading in [true, false] {
            var world = World()
            #expect(world.happen(reading ? .resume : .pause) == nil)
            walk(world, [reading ? .resume : .pause], 7)
        }
        #expect(failures == [])
        #expect(count > 10_000, "the walk reaches less than it should")
    }

    @Test("25,000 random events, resumed at the end, leave a receive in flight", arguments: UInt64(1)...4)
    func randomWalk(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        var world = World()
        #expect(world.happen(.resume) == nil)
        for _ in 0..<25_000 {
            let events = Event.allCases.filter { world.allows($0) && $0 != .endOfFile && $0 != .failure }
            if let violation = world.happen(events.randomElement(using: &generator)!) {
                Issue.record("\(violation) in seed \(seed)")
                return
            }
        }
        #expect(world.happen(.resume) == nil)
        for event in [Event.parkedTold, .cancelMisses, .buffersReturned] where world.allows(event) {
            #expect(world.happen(event) == nil)
        }
        #expect(world.state.receive == .inFlight)
    }

    @Test("only a failure is a failure", arguments: [ECANCELED, EAGAIN, EINTR, ENOBUFS, ECONNRESET, ETIMEDOUT, EBADF])
    func results(code: Int32) {
        var state = ReadState()
        #expect(state.resume() == .arm)
        switch code {
        case ENOBUFS: #expect(state.ended(-code) == .waitForBuffers)
        case ECANCELED, EAGAIN, EINTR: #expect(state.ended(-code) == .arm)
        default:
            #expect(state.ended(-code) == .fail(code))
            #expect(state.receive == .finished && state.resume() == .none)
        }
    }
}
