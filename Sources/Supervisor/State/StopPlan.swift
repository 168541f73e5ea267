import Handoff
import Transport

/// The timetable of one stop.
///
/// Of a grace G, counted from the signal: for the drain delay accepting goes on; then, until half the time to G − 1 s at
/// the latest, accepted sockets are still handed out; then the workers drain until G − 1 s, when they cut what is left;
/// G − 500 ms kills them; G ends the supervisor, whatever happens. A grace under 2 s shortens the two margins in
/// proportion.
struct StopPlan: Sendable, Codable {
    /// How long a worker that was told to stop at once, or whose end is otherwise near, may take.
    static let leaveTimeout: Duration = .milliseconds(500)

    enum Stage: Sendable, Codable {
        /// Everything goes on until this time, except that nobody is started any more.
        case delaying(until: MonotonicTime)
        /// Listeners close; what was accepted still goes to workers, until this time.
        case handingOut(until: MonotonicTime)
        /// Workers were told to drain.
        case draining
        /// Workers were told to cut everything.
        case fast
    }

    var stage: Stage
    let exitCode: ExitCode
    /// When the workers cut what is left, and when they are killed. Of use to a graceful stop only.
    let cutAt: MonotonicTime
    let killAt: MonotonicTime
    /// When the supervisor exits at the latest.
    let exitAt: MonotonicTime

    static func graceful(now: MonotonicTime, grace: Duration, delay: Duration) -> StopPlan {
        let margin = min(leaveTimeout, grace / 4)
        var plan = StopPlan(
            stage: .delaying(until: now + delay), exitCode: .success, cutAt: now + (grace - margin * 2),
            killAt: now + (grace - margin), exitAt: now + grace)
        if delay == .zero { plan.handOut(now: now) }
        return plan
    }

    /// A stop that cuts everything now, perhaps in the middle of a graceful one.
    static func fast(now: MonotonicTime, exitCode: ExitCode, insteadOf plan: StopPlan? = nil) -> StopPlan {
        StopPlan(
            stage: .fast, exitCode: plan?.exitCode ?? exitCode, cutAt: now, killAt: now + leaveTimeout,
            exitAt: min(now + leaveTimeout * 2, plan?.exitAt ?? .distantFuture))
    }

    /// The delay is over.
    mutating func handOut(now: MonotonicTime) {
        stage = .handingOut(until: now + (cutAt - now) / 2)
    }

    /// The next time at which the plan itself does something.
    var nextDeadline: MonotonicTime {
        switch stage {
        case .delaying(let until), .handingOut(let until): min(until, exitAt)
        case .draining, .fast: exitAt
        }
    }
}
