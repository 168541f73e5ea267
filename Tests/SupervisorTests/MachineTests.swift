import Foundation
import Testing

@testable import Supervisor

/// A root directory with the given files, gone when the test ends.
private final class FixtureRoot {
    let files: SystemFiles
    private let directory: URL

    init(_ contents: [String: String]) throws {
        directory = FileManager.default.temporaryDirectory.appending(path: "machine-\(UUID().uuidString)")
        files = SystemFiles(root: directory.path)
        for (path, text) in contents {
            let file = directory.appending(path: path)
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try text.write(to: file, atomically: false, encoding: .utf8)
        }
    }

    deinit { try? FileManager.default.removeItem(at: directory) }
}

/// Eight CPUs, all allowed.
private let eightCPUs = [
    "/proc/self/status": "Name:\tringmaster\nCpus_allowed:\tff\nCpus_allowed_list:\t0-7\n",
    "/sys/devices/system/cpu/online": "0-7\n",
]
private let v2Mount = "31 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
private let v1Mount = """
    31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
    32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 master:2 - cgroup cgroup rw,cpu,cpuacct
    33 31 0:30 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset

    """

private func budget(_ files: [String: String]) throws -> CPUBudget {
    let root = try FixtureRoot(eightCPUs.merging(files) { $1 })
    return CPUBudget.read(root.files)
}

/// A budget on a machine with version 2, where the process is in `cgroup` and cpu.max files stand where said.
private func budgetV2(_ cgroup: String, mounts: String = v2Mount, _ files: [String: String]) throws -> CPUBudget {
    try budget(
        ["/proc/self/cgroup": "0::\(cgroup)\n", "/proc/self/mountinfo": mounts].merging(files) { $1 })
}

/// The same with version 1.
private func budgetV1(
    _ cgroup: String, mounts: String = v1Mount, quota: Int, period: Int = 100_000, at directory: String
) throws -> CPUBudget {
    try budget([
        "/proc/self/cgroup": "9:cpuset:/elsewhere\n4:cpu,cpuacct:\(cgroup)\n0::/\n",
        "/proc/self/mountinfo": mounts,
        directory + "/cpu.cfs_quota_us": "\(quota)\n",
        directory + "/cpu.cfs_period_us": "\(period)\n",
    ])
}

@Suite("CPU budget")
struct CPUBudgetTests {
    @Test("without any file of cgroups the affinity decides")
    func noFiles() throws {
        let budget = try budget([:])
        #expect(budget.cpuCount == 8 && budget.affinityCount == 8 && budget.quota == nil)
        #expect(budget.description == "8 CPUs: affinity allows 8, no cgroup quota")
    }

    @Test("version 2: max is no quota")
    func v2Max() throws {
        let budget = try budgetV2("/app", ["/sys/fs/cgroup/app/cpu.max": "max 100000\n"])
        #expect(budget.quota == nil && budget.cpuCount == 8)
    }

    @Test(
        "version 2: a quota is rounded up to whole CPUs, and never beyond the affinity",
        arguments: [
            ("50000 100000", 1), ("100000 100000", 1), ("100001 100000", 2), ("250000 100000", 3), ("1 1000000", 1),
            ("300000 50000", 6), ("800000 100000", 8), ("1600000 100000", 8),
        ])
    func v2Quota(line: String, cpus: Int) throws {
        let budget = try budgetV2("/app", ["/sys/fs/cgroup/app/cpu.max": line + "\n"])
        #expect(budget.cpuCount == cpus)
        #expect(budget.quota?.file == "/sys/fs/cgroup/app/cpu.max")
    }

    @Test("the description names the quota and the file that says so")
    func description() throws {
        let budget = try budgetV2("/app", ["/sys/fs/cgroup/app/cpu.max": "50000 100000\n"])
        #expect(
            budget.description
                == "1 CPU: affinity allows 8, cgroup quota 0.5 (/sys/fs/cgroup/app/cpu.max)")
    }

    @Test("version 2: the smallest quota among the ancestors binds, wherever it stands")
    func v2Nested() throws {
        let three = "300000 100000"
        let two = "100000 50000"
        let none = "max 100000"
        let top = "/sys/fs/cgroup/kube"
        let pod = top + "/pod"
        let container = pod + "/c"
        for (files, file) in [
            ([top: two, pod: three, container: none], top), ([top: three, pod: two, container: three], pod),
            ([top: none, pod: three, container: two], container), ([top: two], top), ([container: two], container),
        ] {
            let named = Dictionary(uniqueKeysWithValues: files.map { ($0 + "/cpu.max", $1) })
            let budget = try budgetV2("/kube/pod/c", named)
            #expect(budget.cpuCount == 2 && budget.quota?.file == file + "/cpu.max")
        }
    }

    @Test("version 2 in a container with a namespace of its own: the quota stands at the mount point")
    func v2Container() throws {
        let budget = try budgetV2("/", ["/sys/fs/cgroup/cpu.max": "150000 100000\n"])
        #expect(budget.cpuCount == 2)
        #expect(budget.quota?.file == "/sys/fs/cgroup/cpu.max")
    }

    @Test("a mount that shows part of a hierarchy shows it without the part's path")
    func partialMount() throws {
        let mounts = v2Mount.replacing("0:28 / ", with: "0:28 /docker/abc ")
        let one = "100000 100000\n"
        let file = [
            "/sys/fs/cgroup/cpu.max": "200000 100000\n", "/sys/fs/cgroup/sub/cpu.max": one,
            // Read only by who takes a path apart wrongly.
            "/sys/fs/cgroup/d/sub/cpu.max": one, "/sys/fs/other/sub/cpu.max": one,
        ]
        #expect(try budgetV2("/docker/abc", mounts: mounts, file).cpuCount == 2)
        #expect(try budgetV2("/docker/abc/sub", mounts: mounts, file).cpuCount == 1)
        #expect(try budgetV2("/docker/abcd/sub", mounts: mounts, file).cpuCount == 2, "another cgroup: the mount point")
        #expect(try budgetV2("/../other/sub", file).cpuCount == 2, "outside of the namespace: the mount point")
    }

    @Test("of several mounts the one that shows the process's cgroup is read")
    func severalMounts() throws {
        let mounts = "40 23 0:28 /other /mnt/other rw - cgroup2 cgroup2 rw\n" + v2Mount
        let budget = try budgetV2(
            "/app", mounts: mounts,
            ["/mnt/other/cpu.max": "100000 100000\n", "/sys/fs/cgroup/app/cpu.max": "200000 100000\n"])
        #expect(budget.cpuCount == 2)
    }

    @Test("version 1: -1 is no quota, and a quota is rounded up")
    func v1() throws {
        let directory = "/sys/fs/cgroup/cpu,cpuacct/app"
        #expect(try budgetV1("/app", quota: -1, at: directory).quota == nil)
        #expect(try budgetV1("/app", quota: 50_000, at: directory).cpuCount == 1)
        #expect(try budgetV1("/app", quota: 250_000, at: directory).cpuCount == 3)
        #expect(try budgetV1("/app", quota: 100_000, period: 50_000, at: directory).cpuCount == 2)
        #expect(try budgetV1("/app", quota: 100_000, period: 0, at: directory).quota == nil, "nonsense is no quota")
    }

    @Test("version 1: an ancestor's quota binds, and so does one at the mount point of a container")
    func v1Ancestors() throws {
        let top = "/sys/fs/cgroup/cpu,cpuacct"
        #expect(try budgetV1("/a/b/c", quota: 200_000, at: top + "/a").cpuCount == 2)
        let bind = v1Mount.replacing("0:29 / ", with: "0:29 /docker/abc ")
        #expect(try budgetV1("/docker/abc", mounts: bind, quota: 200_000, at: top).cpuCount == 2)
    }

    @Test("a hybrid machine is read in both versions, whichever has the CPU controller")
    func hybrid() throws {
        let mounts = v1Mount + v2Mount.replacing("/sys/fs/cgroup", with: "/sys/fs/cgroup/unified")
        let memberships = "4:cpu,cpuacct:/app\n0::/app\n"
        let v1 = "/sys/fs/cgroup/cpu,cpuacct/app"
        let v2 = "/sys/fs/cgroup/unified/app/cpu.max"
        let common = ["/proc/self/cgroup": memberships, "/proc/self/mountinfo": mounts]
        let quota = [v1 + "/cpu.cfs_quota_us": "200000\n", v1 + "/cpu.cfs_period_us": "100000\n"]
        #expect(try budget(common.merging(quota) { $1 }).cpuCount == 2)
        #expect(try budget(common.merging([v2: "300000 100000\n"]) { $1 }).cpuCount == 3)
    }

    @Test("a mount point with a space in it is found")
    func escapedMount() throws {
        let mounts = v2Mount.replacing("/sys/fs/cgroup", with: "/my\\040cgroups")
        let budget = try budgetV2("/app", mounts: mounts, ["/my cgroups/app/cpu.max": "200000 100000\n"])
        #expect(budget.cpuCount == 2)
    }

    @Test(
        "a file that makes no sense is no quota",
        arguments: ["", "\n", "100000", "x 100000", "100000 0", "0 100000", "-5 100000", "1 2 3"])
    func nonsense(line: String) throws {
        #expect(try budgetV2("/app", ["/sys/fs/cgroup/app/cpu.max": line]).quota == nil)
    }

    @Test(
        "the affinity counts the CPUs that are both allowed and online",
        arguments: [
            ("0-7", "0-7", 8), ("0-127", "0-1", 2), ("0,2,4", "0-7", 3), ("2-3,6-9", "0-6", 3), ("5", "0-7", 1),
            ("0-1,4-5", "1-4", 2), ("9", "0-7", 1),
        ])
    func affinity(allowed: String, online: String, count: Int) throws {
        let budget = try budget([
            "/proc/self/status": "Cpus_allowed_list:\t\(allowed)\n", "/sys/devices/system/cpu/online": online + "\n",
        ])
        #expect(budget.affinityCount == count && budget.cpuCount == count)
    }

    @Test("a CPU list is read strictly", arguments: ["a", "1-", "-1", "3-1", "1-2-3", "2,1", "1-3,3"])
    func badLists(text: String) {
        #expect(CPUList(text) == nil)
    }

    @Test("on this machine the affinity is the one that nproc(1) counts")
    func thisMachine() throws {
        let nproc = Process()
        nproc.executableURL = URL(fileURLWithPath: "/usr/bin/nproc")
        nproc.environment = [:]
        let output = Pipe()
        nproc.standardOutput = output
        try nproc.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        nproc.waitUntilExit()
        let budget = CPUBudget.read()
        #expect("\(budget.affinityCount)\n" == text)
        #expect((1...budget.affinityCount).contains(budget.cpuCount))
    }
}

@Suite("resource limits", .serialized)
struct ResourceLimitTests {
    @Test("the limit of open files is the one that a child inherits")
    func openFiles() throws {
        let shell = Process()
        shell.executableURL = URL(fileURLWithPath: "/bin/sh")
        shell.arguments = ["-c", "ulimit -Hn"]
        let output = Pipe()
        shell.standardOutput = output
        try shell.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        shell.waitUntilExit()
        let hard = ResourceLimit.read(.openFiles).hard
        #expect(text == (hard == ResourceLimit.unlimited ? "unlimited\n" : "\(hard)\n"))
    }

    @Test("raising brings the soft limit to the hard one and tells both", arguments: ResourceLimit.Resource.allCases)
    func raise(resource: ResourceLimit.Resource) {
        let hard = ResourceLimit.read(resource).hard
        // Where locked memory is forbidden there is nothing to lower.
        let soft = max(hard, 1) - 1
        var lowered = rlimit(rlim_cur: rlim_t(soft), rlim_max: rlim_t(hard))
        #expect(setrlimit(resource.number, &lowered) == 0)
        let before = ResourceLimit.read(resource)
        #expect(before == ResourceLimit(soft: soft, hard: hard))
        let (old, new) = ResourceLimit.raiseSoftToHard(resource)
        #expect(old == before)
        #expect(new == ResourceLimit(soft: hard, hard: hard))
        #expect(ResourceLimit.read(resource) == new)
        let again = ResourceLimit.raiseSoftToHard(resource)
        #expect(again.old == new && again.new == new)
    }

    @Test("the neediest process decides how many descriptors are needed")
    func descriptors() {
        func needed(_ connections: Int, _ workers: Int, _ each: Int) -> Int {
            DescriptorNeed.descriptorsNeeded(connectionsMax: connections, workers: workers, perConnection: each)
        }
        #expect(needed(1000, 1, 1) == 1000 + 64 + 128, "connections, what every process needs, 64 pipes")
        #expect(needed(1001, 2, 2) == 501 * 2 + 64 + 128, "a worker holds its share, rounded up, twice for a proxy")
        #expect(needed(0, 2, 1) == 2 * (8 + 64) + 64, "the supervisor, with the copies of what is in flight")
        #expect(needed(1000, 100, 2) == 100 * 72 + 64, "many workers: the supervisor needs more than each of them")
        #expect(needed(.max, 1, 2) == .max)
        #expect(needed(.max, 1, 1) == .max)
    }
}
