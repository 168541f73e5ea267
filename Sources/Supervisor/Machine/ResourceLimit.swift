import Glibc
import Transport

/// A resource limit of this process (getrlimit(2)).
public struct ResourceLimit: Hashable, Sendable {
    /// The limits that matter to Ringmaster.
    public enum Resource: Hashable, Sendable, CaseIterable {
        /// RLIMIT_NOFILE: one more than the highest descriptor. Also bounds descriptors in flight, per user (unix(7)).
        case openFiles
        /// RLIMIT_MEMLOCK, in bytes: rings and buffer rings are charged to the user against it, without CAP_IPC_LOCK.
        case lockedMemory

        /// The number that getrlimit(2) takes.
        var number: Int32 {
            switch self {
            case .openFiles: Int32(RLIMIT_NOFILE.rawValue)
            // The macro RLIMIT_MEMLOCK does not reach Swift; the constant behind it does.
            case .lockedMemory: Int32(__RLIMIT_MEMLOCK.rawValue)
            }
        }
    }

    /// Stands for "no limit" (RLIM_INFINITY).
    public static let unlimited = UInt64.max

    /// What the kernel enforces; the process may raise it up to `hard`.
    public let soft: UInt64
    /// The ceiling, which only a privileged process may raise.
    public let hard: UInt64

    /// The limit in force. Any thread.
    public static func read(_ resource: Resource) -> ResourceLimit {
        var limit = rlimit()
        // getrlimit(2) fails for a bad address or an unknown resource only, and neither can come from here.
        let code = getrlimit(resource.number, &limit)
        precondition(code == 0, "getrlimit knows the resource")
        return ResourceLimit(soft: UInt64(limit.rlim_cur), hard: UInt64(limit.rlim_max))
    }

    /// Raises the soft limit to the hard one and returns both states, which are equal when nothing could be raised.
    ///
    /// Concerns the whole process and what it starts later. Not to be called while another thread sets limits.
    public static func raiseSoftToHard(_ resource: Resource) -> (old: ResourceLimit, new: ResourceLimit) {
        let old = read(resource)
        guard old.soft < old.hard else { return (old, old) }
        var limit = rlimit(rlim_cur: rlim_t(old.hard), rlim_max: rlim_t(old.hard))
        // Refused where a security module says so: the caller sees it in the limit that is then still in force.
        _ = setrlimit(resource.number, &limit)
        return (old, read(resource))
    }
}

/// How many descriptors the processes need, for a check against ``ResourceLimit/Resource/openFiles``.
public enum DescriptorNeed {
    /// Per process: standard streams, ring, eventfd, signalfd, log, and what the C library opens for a moment.
    public static let reserve = 64
    /// Per worker, in it: both ends of the pipes that streams are spliced through.
    public static let pipeEnds = 2 * EventLoopConfiguration.splicePipesDefault
    /// Per worker, in the supervisor: hand-off socket, error pipe, status page, pidfd, and as much for its successor.
    public static let perWorker = 8

    /// What the neediest process must be able to open at once; `Int.max` when it does not fit.
    ///
    /// - Parameters:
    ///   - connectionsMax: connections of all workers together.
    ///   - workers: at least 1. A worker holds its share of the connections, rounded up.
    ///   - perConnection: descriptors of a connection in its worker: 1 for echo, 2 for the proxy.
    ///   - listeners: listening sockets of the supervisor.
    ///   - inflightPerWorkerMax: sockets sent to a worker and not adopted yet, of which the supervisor keeps copies.
    public static func descriptorsNeeded(
        connectionsMax: Int, workers: Int, perConnection: Int, listeners: Int = 0,
        inflightPerWorkerMax: Int = 64
    ) -> Int {
        precondition(connectionsMax >= 0 && workers >= 1 && perConnection >= 1 && inflightPerWorkerMax >= 0)
        let (whole, rest) = connectionsMax.quotientAndRemainder(dividingBy: workers)
        let worker = plusReserve(rest == 0 ? whole : whole + 1, times: perConnection, besides: pipeEnds)
        let supervisor = plusReserve(workers, times: perWorker + inflightPerWorkerMax, besides: listeners)
        return max(worker, supervisor)
    }

    private static func plusReserve(_ count: Int, times size: Int, besides others: Int) -> Int {
        let (product, isTooLarge) = count.multipliedReportingOverflow(by: size)
        let (sum, overflows) = product.addingReportingOverflow(reserve + others)
        return isTooLarge || overflows ? .max : sum
    }
}
