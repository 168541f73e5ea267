import Handoff
import Transport

/// When a worker takes connections, drains and leaves. Pure: the shell performs what it returns.
struct WorkerLifecycle {
    enum Phase: Equatable {
        /// The service prepares.
        case starting
        /// Connections come.
        case serving
        /// No connection comes any more; leaves with this code when the last has ended.
        case draining(ExitCode)
        /// Everything has been cut; leaves as soon as the sockets are closed.
        case leaving(ExitCode)
    }

    enum Action: Equatable {
        /// Tell the supervisor that connections may come.
        case sayReady
        /// Tell the service to finish, and cut what is left after this time.
        case drain(Duration)
        /// Offer so many connections per second to other workers, and cut what is left after this time.
        case migrate(Duration, perSecond: UInt32)
        /// Cut what is left: so many connections, beside what is offered.
        case closeAll(forced: Int)
        /// End the loop.
        case stopLoop
    }

    private(set) var phase = Phase.starting
    /// Connections taken and not yet ended.
    private(set) var live = 0
    /// Connections cut by force.
    private(set) var forced = 0
    let capacity: Int

    init(capacity: Int) {
        precondition(capacity >= 1)
        self.capacity = capacity
    }

    /// How many more connections may come.
    var credit: Int {
        phase == .serving ? max(0, capacity - live) : 0
    }

    /// Whether it is past taking connections, even ones that were sent already.
    var isLeaving: Bool {
        if case .leaving = phase { true } else { false }
    }

    /// What the process exits with.
    var exitCode: ExitCode {
        switch phase {
        case .draining(let code), .leaving(let code): code
        case .starting, .serving: .internalError
        }
    }

    mutating func serviceReady() -> [Action] {
        guard phase == .starting else { return [] }
        phase = .serving
        return [.sayReady]
    }

    /// So many connections are ours from now on. While draining too: they were sent before the supervisor knew.
    mutating func adopted(_ count: Int) {
        assert(count >= 1 && !isLeaving)
        live += count
    }

    /// One has been closed that its client had not ended.
    mutating func connectionCut() -> [Action] {
        assert(!isLeaving, "what is cut in the end is counted then")
        forced += 1
        return connectionEnded()
    }

    /// One has been closed, or has moved away.
    mutating func connectionEnded() -> [Action] {
        assert(live > 0, "a connection ends once")
        live -= 1
        return leaveIfDone()
    }

    /// Finish within `grace`, then leave with `code`. While draining already, only an earlier deadline counts.
    mutating func drain(_ grace: Duration, then code: ExitCode, migrationsPerSecond: UInt32 = 0) -> [Action] {
        let action: Action =
            migrationsPerSecond > 0 ? .migrate(grace, perSecond: migrationsPerSecond) : .drain(grace)
        switch phase {
        case .leaving:
            return []
        case .draining:
            return [action]
        case .starting, .serving:
            phase = .draining(code)
            return live == 0 ? leaveIfDone() : [action]
        }
    }

    /// The deadline has passed, or the supervisor wants it now. What is `offered` is the supervisor's to save, and to count
    /// if it cannot.
    mutating func cut(offered: Int) -> [Action] {
        let code: ExitCode
        switch phase {
        case .leaving: return []
        case .draining(let drained): code = drained
        case .starting, .serving: code = .success
        }
        phase = .leaving(code)
        assert(offered <= live)
        let count = live - offered
        forced += count
        return [.closeAll(forced: count), .stopLoop]
    }

    private mutating func leaveIfDone() -> [Action] {
        guard case .draining(let code) = phase, live == 0 else { return [] }
        phase = .leaving(code)
        return [.stopLoop]
    }
}
