import Handoff
import Supervisor
import Transport

/// How supervisor and workers reach the kernel, and why.
struct LoopDecision {
    var kind: LoopKind
    /// Why it is not io_uring; nil when it is.
    var cause: UringUnavailability?

    /// Locked memory of one ring of the usual size, rounded up.
    private static let ringBytes: UInt64 = 128 * 1024

    /// Finds out by trying, as the preference says. Raises the soft limit of locked memory to the hard one.
    static func make(_ preference: TransportPreference, workers: Int) throws(CommandError) -> LoopDecision {
        let limit = ResourceLimit.raiseSoftToHard(.lockedMemory).new.soft
        do throws(UringUnavailability) {
            let decision = try preference.decide(loops: workers + 1)
            switch (decision.transport, decision.hasSmallRings) {
            case (.epoll, _): return LoopDecision(kind: .epoll, cause: decision.cause)
            case (.ioUring, false): return LoopDecision(kind: .ring)
            case (.ioUring, true): return LoopDecision(kind: .smallRing)
            }
        } catch {
            guard case .lockedMemory = error else { throw CommandError(error.exitCode, "\(error)") }
            throw CommandError(
                error.exitCode,
                "RLIMIT_MEMLOCK is \(limit) bytes for all processes of this user, which is too little for the rings of "
                    + "\(counted(workers, "worker")) and the supervisor: raise it by what they need, \(UInt64(workers + 1) * ringBytes / 1024) KiB "
                    + "(ulimit -l, or docker run --ulimit memlock=), start fewer workers, or use --transport auto")
        }
    }
}
