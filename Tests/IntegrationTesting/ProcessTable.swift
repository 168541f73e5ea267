import Foundation

/// What proc(5) tells of processes and of their sockets.
enum ProcessTable {
    /// Reads to the end: files of proc(5) say that they are empty, and a long one comes in pieces.
    private static func text(_ path: String) -> String {
        let data = FileHandle(forReadingAtPath: path).flatMap { try? $0.readToEnd() }
        return String(decoding: data ?? Data(), as: UTF8.self)
    }

    /// The fields of /proc/PID/stat after the command's name, which may hold spaces: state, parent and so on.
    private static func fields(of pid: pid_t) -> [Substring] {
        let stat = text("/proc/\(pid)/stat")
        guard let end = stat.lastIndex(of: ")") else { return [] }
        return stat[stat.index(after: end)...].split(separator: " ")
    }

    /// Whether the process exists and is no zombie.
    static func isRunning(_ pid: pid_t) -> Bool {
        guard let state = fields(of: pid).first else { return false }
        return state != "Z" && state != "X"
    }

    /// The children that run, in order.
    static func children(of parent: pid_t) -> [pid_t] {
        let entries = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return entries.compactMap { pid_t($0) }.sorted().filter { pid in
            let fields = fields(of: pid)
            return fields.count > 1 && fields[1] == "\(parent)" && fields[0] != "Z" && fields[0] != "X"
        }
    }

    /// Clock ticks (sysconf(3), usually 100 a second) that the process has spent, in user and kernel mode.
    static func processorTicks(of pid: pid_t) -> Int {
        let fields = fields(of: pid)
        guard fields.count > 12, let user = Int(fields[11]), let kernel = Int(fields[12]) else { return 0 }
        return user + kernel
    }

    /// What the process's descriptors refer to, sorted: `socket:[4711]`, `anon_inode:[eventfd]`, a path.
    static func descriptors(of pid: pid_t) -> [String] {
        let directory = "/proc/\(pid)/fd"
        let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
        return names.compactMap { try? FileManager.default.destinationOfSymbolicLink(atPath: "\(directory)/\($0)") }
            .sorted()
    }

    /// The inodes of the process's sockets.
    static func socketInodes(of pid: pid_t) -> Set<String> {
        Set(descriptors(of: pid).filter { $0.hasPrefix("socket:[") }.map { String($0.dropFirst(8).dropLast()) })
    }

    /// Resident memory in bytes (VmRSS).
    static func residentBytes(of pid: pid_t) throws -> Int {
        let line = text("/proc/\(pid)/status").split(separator: "\n").first { $0.hasPrefix("VmRSS:") }
        guard let kilobytes = line?.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap({ Int($0) }) else {
            throw HarnessError("no VmRSS of process \(pid)")
        }
        return kilobytes * 1024
    }

    /// The inodes of all listening sockets, TCP (state 0A) and Unix-domain (flag __SO_ACCEPTCON).
    static func listeningInodes() -> Set<String> {
        let tcp = tcpSockets().filter { $0.state == "0A" }.map(\.inode)
        let unix = text("/proc/net/unix").split(separator: "\n").dropFirst().compactMap { line -> String? in
            let fields = line.split(separator: " ")
            return fields.count > 6 && fields[3] == "00010000" ? String(fields[6]) : nil
        }
        return Set(tcp + unix)
    }

    /// The inodes of the established TCP sockets whose own port is `port`.
    static func establishedInodes(localPort port: UInt16) -> Set<String> {
        Set(tcpSockets().filter { $0.state == "01" && $0.localPort == port }.map(\.inode))
    }

    /// The TCP sockets that have `port` at either end and are not closed yet, with what waits in their queues: to tell in
    /// a test's message who has stopped reading.
    static func queues(port: UInt16) -> [String] {
        let hexadecimal = String(port, radix: 16, uppercase: true)
        let suffix = ":" + String(repeating: "0", count: 4 - hexadecimal.count) + hexadecimal
        return text("/proc/net/tcp").split(separator: "\n").compactMap { line in
            let fields = line.split(separator: " ")
            // States 06 and 0A: TIME-WAIT and LISTEN.
            guard fields.count > 9, fields[1].hasSuffix(suffix) || fields[2].hasSuffix(suffix),
                fields[3] != "06", fields[3] != "0A"
            else { return nil }
            return "\(fields[1]) to \(fields[2]), state \(fields[3]), bytes to send and to read \(fields[4])"
        }
    }

    private static func tcpSockets() -> [(state: Substring, localPort: UInt16?, inode: String)] {
        (text("/proc/net/tcp") + text("/proc/net/tcp6")).split(separator: "\n").compactMap { line in
            let fields = line.split(separator: " ")
            guard fields.count > 9 else { return nil }
            let port = fields[1].split(separator: ":").last.flatMap { UInt16($0, radix: 16) }
            return (fields[3], port, String(fields[9]))
        }
    }
}
