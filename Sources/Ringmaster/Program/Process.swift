import Glibc

/// What the process was started with, and where it speaks.
enum Process {
    /// Name and value of each environment variable.
    static var environment: [(name: String, value: String)] {
        var pairs: [(String, String)] = []
        var entry = environ
        while let text = entry.pointee {
            let variable = String(cString: text)
            if let equals = variable.firstIndex(of: "=") {
                pairs.append((String(variable[..<equals]), String(variable[variable.index(after: equals)...])))
            }
            entry += 1
        }
        return pairs
    }

    /// The value of one variable.
    static func environment(_ name: String) -> String? {
        environment.first { $0.name == name }?.value
    }

    /// The file that this program was started from, by the name it was started by: after an upgrade on disk that name
    /// leads to the new file. Absolute, and not resolved, since it may be a symbolic link that is changed.
    static var programPath: String {
        let name = CommandLine.arguments.first ?? ""
        let own = path(ofLink: "/proc/self/exe") ?? name
        if name.hasPrefix("/") { return name }
        if name.contains("/") { return path(ofLink: "/proc/self/cwd").map { "\($0)/\(name)" } ?? own }
        let directories = environment("PATH")?.split(separator: ":").map(String.init) ?? []
        return directories.map { "\($0)/\(name)" }.first { $0.hasPrefix("/") && access($0, X_OK) == 0 } ?? own
    }

    private static func path(ofLink link: String) -> String? {
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink(link, &buffer, buffer.count)
        return count > 0 ? String(decoding: buffer[..<count].map(UInt8.init(bitPattern:)), as: UTF8.self) : nil
    }

    /// Opens /dev/null in place of a standard stream that is closed: else the next descriptor opened, perhaps a listening
    /// socket, would take its number, and be written to as the log.
    static func openStandardDescriptors() {
        for fd in STDIN_FILENO...STDERR_FILENO where fcntl(fd, F_GETFD) < 0 {
            // The lowest free number, so this one.
            _ = open("/dev/null", O_RDWR)
        }
    }

    /// A line on standard output.
    static func say(_ line: String) {
        write(line + "\n", to: STDOUT_FILENO)
    }

    /// A line on standard error.
    static func complain(_ line: String) {
        write(line + "\n", to: STDERR_FILENO)
    }

    /// Writes all of it, as long as there is somebody to read it.
    private static func write(_ text: String, to descriptor: Int32) {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }

    /// What ps(1) and top(1) call this process: as much of `name` as leaves room for all of `suffix`.
    static func rename(_ name: String, _ suffix: String = "") {
        let file = open("/proc/self/comm", O_WRONLY | O_CLOEXEC)
        guard file >= 0 else { return }
        write(Self.title(name, suffix), to: file)
        close(file)
    }

    /// 15 bytes at most (proc(5), /proc/PID/comm).
    static func title(_ name: String, _ suffix: String) -> String {
        var title = name
        while title.utf8.count + suffix.utf8.count > titleMax { title.removeLast() }
        return title + suffix
    }

    private static let titleMax = 15
}
