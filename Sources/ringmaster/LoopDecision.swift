import Handoff
import Supervisor
import Transport

/// How supervisor and workers reach the kernel, and why.
struct LoopDecision {
    var kind: LoopKind
    /// Why it is not io_uring; nil when it is.
    var cause: UringUnavailability?

    /// Locked memory of one ring of the usual size, rounded up. With less than that for each, all take the smallest.
    static let ringBytes: UInt64 = 128 * 1024

    /// Finds out by trying, as the preference says. Raises the soft limit of locked memory to the hard one.
    static func make(_ preference: TransportPreference, workers: Int) throws(CommandError) -> LoopDecision {
        let limit = ResourceLimit.raiseSoftToHard(.lockedMemory).new.soft
        let found: TransportDecision
        do throws(UringUnavailability) {
            found = try preference.decide()
        } catch {
            throw CommandError(error.exitCode, "\(error)")
        }
        guard found.transport == .ioUring else { return LoopDecision(kind: .epoll, cause: found.cause) }
        guard limit / ringBytes < UInt64(workers + 1) else { return LoopDecision(kind: .ring) }
        if UringAvailability.fits(rings: workers + 1) { return LoopDecision(kind: .smallRing) }
        if preference == .auto { return LoopDecision(kind: .epoll, cause: .lockedMemory(limitBytes: limit)) }
        throw CommandError(
            .limitTooLow,
            "RLIMIT_MEMLOCK is \(limit) bytes, which is too little for the rings of \(workers) workers and their supervisor: "
                + "raise it, for example with ulimit -l \(UInt64(workers + 1) * ringBytes / 1024), start fewer workers, or "
                + "use --transport auto")
    }
}
