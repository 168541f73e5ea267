import Foundation

/// A copy of the binary, in a directory of its own, which can be replaced while it runs.
final class BinaryCopy {
    let directory: TemporaryDirectory
    let path: String
    private let original: String

    init(of program: String = Ringmaster.binary) throws {
        directory = try TemporaryDirectory()
        original = program
        path = directory.path(URL(filePath: program).lastPathComponent)
        try Self.copy(program, to: path)
    }

    /// Not written by this process: a child that another test forks meanwhile would have the file open for writing, and nobody
    /// could execute it (ETXTBSY).
    private static func copy(_ file: String, to path: String) throws {
        _ = try ChildProcess.succeed("cp", ["--preserve=mode", file, path])
    }

    /// Puts another file in its place: a fresh copy, or this script.
    func replace(script: String? = nil) throws {
        let fresh = directory.path("fresh")
        if let script {
            let text = directory.path("script")
            try Data(script.utf8).write(to: URL(filePath: text))
            chmod(text, 0o755)
            try Self.copy(text, to: fresh)
        } else {
            try Self.copy(original, to: fresh)
        }
        guard rename(fresh, path) == 0 else { throw HarnessError.system("rename") }
    }

    /// Whether the process runs the file that lies there now.
    func isRun(by pid: pid_t) -> Bool { inode("/proc/\(pid)/exe") == inode(path) }

    private func inode(_ path: String) -> ino_t? {
        var status = Glibc.stat()
        return stat(path, &status) == 0 ? status.st_ino : nil
    }
}
