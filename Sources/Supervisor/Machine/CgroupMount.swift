/// One mounted cgroup hierarchy, as a line of /proc/self/mountinfo tells it (proc(5)).
struct CgroupMount: Hashable, Sendable {
    enum Version: Hashable, Sendable {
        case v1
        case v2
    }

    let version: Version
    /// Which cgroup of the hierarchy is seen at `mountPoint`; not `/` for a bind mount such as a container may have.
    let root: String
    let mountPoint: String
    /// Version 1: the controllers of the hierarchy, such as `cpu` and `cpuacct`, among other mount options.
    let options: [Substring]

    /// Reads one line; nil when it is no cgroup mount.
    init?(_ line: some StringProtocol) {
        let fields = line.split(separator: " ").map { Substring($0) }
        // Optional fields of any number end with a lone "-"; file system type, source and options follow it.
        guard let dash = fields.firstIndex(of: "-"), dash >= 6, fields.count > dash + 3 else { return nil }
        switch fields[dash + 1] {
        case "cgroup": version = .v1
        case "cgroup2": version = .v2
        default: return nil
        }
        root = Self.unescaped(fields[3])
        mountPoint = Self.unescaped(fields[4])
        options = fields[dash + 3].split(separator: ",")
    }

    /// Where a cgroup of this hierarchy and its ancestors are found, the cgroup itself first, the mount point last.
    ///
    /// A cgroup that is not below the mount's root is not visible; the mount point is then the nearest thing to it.
    func directories(of cgroup: String) -> [String] {
        let components = visiblePart(of: cgroup)?.split(separator: "/") ?? []
        return (0...components.count).reversed().map { count in
            ([Substring(mountPoint)] + components.prefix(count)).joined(separator: "/")
        }
    }

    /// Whether `cgroup` lies at or below the mount's root.
    func shows(_ cgroup: String) -> Bool { visiblePart(of: cgroup) != nil }

    private func visiblePart(of cgroup: String) -> Substring? {
        // "/.." is how a cgroup outside one's cgroup namespace is shown (cgroup_namespaces(7)).
        guard !cgroup.hasPrefix("/..") else { return nil }
        guard root != "/" else { return Substring(cgroup) }
        guard cgroup.hasPrefix(root) else { return nil }
        let rest = cgroup.dropFirst(root.count)
        return rest.isEmpty || rest.hasPrefix("/") ? rest : nil
    }

    /// Undoes the octal escapes (`\040` for a space) of mountinfo.
    private static func unescaped(_ field: Substring) -> String {
        var bytes: [UInt8] = []
        var rest = field.utf8[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "\\"), rest.count >= 3, let code = UInt8(String(rest.prefix(3)) ?? "", radix: 8) {
                bytes.append(code)
                rest = rest.dropFirst(3)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
