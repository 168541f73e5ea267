import Glibc

/// How many CPUs this process can keep busy, and why: what `--workers auto` goes by.
public struct CPUBudget: Hashable, Sendable {
    /// The CPUs that the process may run on and that are online. At least 1.
    public let affinityCount: Int
    /// The cgroup quota that binds the process, if one does.
    public let quota: CPUQuota?

    /// The CPUs to plan for: the affinity, or the quota rounded up where that is less. At least 1.
    public var cpuCount: Int { max(1, min(affinityCount, quota?.cpusRoundedUp ?? affinityCount)) }

    /// What holds for this process now. Reads a handful of files.
    public static func read() -> CPUBudget { read(SystemFiles(root: "")) }

    static func read(_ files: SystemFiles) -> CPUBudget {
        CPUBudget(affinityCount: max(1, affinityCount(files)), quota: CPUQuota.smallest(in: files))
    }

    /// What sched_getaffinity(2) returns, which Swift's Glibc module leaves out: the CPUs allowed of those online.
    private static func affinityCount(_ files: SystemFiles) -> Int {
        let lines = files.read("/proc/self/status")?.split(separator: "\n")
        let fields = lines?.first { $0.hasPrefix("Cpus_allowed_list:") }?.split(whereSeparator: \.isWhitespace)
        let online = files.read("/sys/devices/system/cpu/online")?.split(whereSeparator: \.isWhitespace).first
        guard let fields, fields.count == 2, let allowed = CPUList(fields[1]) else {
            return sysconf(Int32(_SC_NPROCESSORS_ONLN))
        }
        return allowed.countCommon(with: online.flatMap { CPUList($0) } ?? allowed)
    }
}

extension CPUBudget: CustomStringConvertible {
    /// One line: the choice and everything that went into it.
    public var description: String {
        let allowed = "\(cpuCount) CPU\(cpuCount == 1 ? "" : "s"): affinity allows \(affinityCount)"
        guard let quota else { return "\(allowed), no cgroup quota" }
        return "\(allowed), cgroup quota \(quota.cpus) (\(quota.file))"
    }
}
