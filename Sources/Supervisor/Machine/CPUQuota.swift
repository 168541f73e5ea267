/// How much CPU time a cgroup may use: `microseconds` in each period of `periodMicroseconds`.
public struct CPUQuota: Hashable, Sendable {
    /// CPU time, in microseconds, that all tasks of the cgroup may use in one period. At least 1.
    public let microseconds: Int
    /// The period in microseconds. At least 1.
    public let periodMicroseconds: Int
    /// The file that says so.
    public let file: String

    /// The whole CPUs that it takes to use the quota up: 1.5 CPUs need 2.
    public var cpusRoundedUp: Int {
        let (whole, rest) = microseconds.quotientAndRemainder(dividingBy: periodMicroseconds)
        return rest == 0 ? whole : whole + 1
    }

    /// The quota in CPUs, such as 1.5.
    public var cpus: Double { Double(microseconds) / Double(periodMicroseconds) }

    init?(microseconds: Int?, periodMicroseconds: Int?, file: String) {
        // Version 1 says -1 for "no quota", version 2 says "max", which is no number.
        guard let microseconds, let periodMicroseconds, microseconds > 0, periodMicroseconds > 0 else { return nil }
        self.microseconds = microseconds
        self.periodMicroseconds = periodMicroseconds
        self.file = file
    }
}

extension CPUQuota {
    /// The smallest quota that binds this process: its cgroup's or an ancestor's, of version 1 or 2; nil when none does.
    ///
    /// The kernel enforces each ancestor's quota apart, so the smallest counts.
    static func smallest(in files: SystemFiles) -> CPUQuota? {
        guard let memberships = files.read("/proc/self/cgroup"), let mounts = files.read("/proc/self/mountinfo") else {
            return nil
        }
        let cgroupMounts = mounts.split(separator: "\n").compactMap { CgroupMount($0) }
        return memberships.split(separator: "\n")
            .flatMap { quotas(ofMembership: $0, cgroupMounts, files) }
            .min { $0.cpus < $1.cpus }
    }

    /// The quotas that a line `ID:CONTROLLERS:PATH` of /proc/self/cgroup leads to (cgroups(7)).
    private static func quotas(
        ofMembership line: Substring, _ mounts: [CgroupMount], _ files: SystemFiles
    ) -> [CPUQuota] {
        let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
        guard fields.count == 3 else { return [] }
        let cgroup = String(fields[2])
        let version: CgroupMount.Version
        if fields[0] == "0" && fields[1].isEmpty {
            version = .v2
        } else if fields[1].split(separator: ",").contains("cpu") {
            version = .v1
        } else {
            return []
        }
        let candidates = mounts.filter { $0.version == version && (version == .v2 || $0.options.contains("cpu")) }
        guard let mount = candidates.first(where: { $0.shows(cgroup) }) ?? candidates.first else { return [] }
        return mount.directories(of: cgroup).compactMap { directory in
            version == .v1 ? quotaV1(directory, files) : quotaV2(directory, files)
        }
    }

    /// `cpu.max`: quota, or "max", and period (Documentation/admin-guide/cgroup-v2.rst). The root cgroup has no such file.
    private static func quotaV2(_ directory: String, _ files: SystemFiles) -> CPUQuota? {
        let file = directory + "/cpu.max"
        guard let fields = files.read(file)?.split(whereSeparator: \.isWhitespace), fields.count == 2 else {
            return nil
        }
        return CPUQuota(microseconds: Int(fields[0]), periodMicroseconds: Int(fields[1]), file: file)
    }

    /// `cpu.cfs_quota_us`, -1 for none, and `cpu.cfs_period_us` (Documentation/scheduler/sched-bwc.rst).
    private static func quotaV1(_ directory: String, _ files: SystemFiles) -> CPUQuota? {
        func number(_ name: String) -> Int? {
            files.read(directory + name)?.split(whereSeparator: \.isWhitespace).first.flatMap { Int($0) }
        }
        return CPUQuota(
            microseconds: number("/cpu.cfs_quota_us"), periodMicroseconds: number("/cpu.cfs_period_us"),
            file: directory + "/cpu.cfs_quota_us")
    }
}
