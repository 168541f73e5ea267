import Foundation
import Testing

/// The programs that tests start.
enum Programs {
    private static let directories: [String] = {
        let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
        let versions = (try? FileManager.default.contentsOfDirectory(atPath: "/usr/lib/postgresql")) ?? []
        return path.split(separator: ":").map(String.init) + ["/usr/sbin", "/sbin"]
            + versions.sorted().reversed().map { "/usr/lib/postgresql/\($0)/bin" }
    }()

    /// Python with the packages of `.ci/requirements.txt`.
    static let python = URL(filePath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: ".build/python/bin/python").path

    /// Whether this is a run of CI, where nothing is skipped for want of a program.
    static let isCI = ProcessInfo.processInfo.environment["CI"] == "true"

    /// The executable named `program`, or `program` itself when it is a path.
    static func path(of program: String) throws -> String {
        let candidates = program.contains("/") ? [program] : directories.map { "\($0)/\(program)" }
        guard let path = candidates.first(where: FileManager.default.isExecutableFile) else {
            throw HarnessError("\(program) is not installed: run .ci/install")
        }
        return path
    }
}

extension Trait where Self == ConditionTrait {
    /// Skips a test on a machine without these programs. In CI the test runs, and fails for want of them.
    static func needs(_ programs: String...) -> Self {
        let missing = programs.filter { (try? Programs.path(of: $0)) == nil }
        return .enabled(
            if: missing.isEmpty || Programs.isCI,
            "not installed: \(missing.joined(separator: ", ")); .ci/install installs them")
    }
}

/// A directory with a short path (Unix-domain sockets allow 107 bytes) that vanishes with the last reference to it.
final class TemporaryDirectory {
    let root: String

    init() throws {
        var template = Array("/tmp/ringmaster-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw HarnessError.system("mkdtemp") }
        root = template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
        // Servers that give up root's rights must get in.
        chmod(root, 0o755)
    }

    deinit {
        try? FileManager.default.removeItem(atPath: root)
    }

    func path(_ name: String) -> String { "\(root)/\(name)" }
}
