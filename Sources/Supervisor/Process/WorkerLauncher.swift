import CSocket
import Glibc
import Handoff

/// Starts processes of this program: workers, and the check of a new program file before an upgrade.
public struct WorkerLauncher: Sendable {
    /// What the names of variables begin with that only a supervisor sets.
    public static let reservedPrefix = "RINGMASTER_INTERNAL_"

    /// The command line of the supervisor, the program's name first, which workers are started with too.
    public let arguments: [String]
    /// `NAME=value` each, without what only a supervisor sets.
    public let environment: [String]

    /// - Parameters:
    ///   - arguments: the supervisor's own, the program's name first.
    ///   - environment: `NAME=value` each.
    public init(arguments: [String], environment: [String]) {
        self.arguments = arguments
        self.environment = environment.filter { !$0.hasPrefix(Self.reservedPrefix) }
    }

    /// What a worker inherits, in the order of its descriptors from 2 on.
    struct Inheritance {
        var standardError: Int32
        var control: Int32
        var page: Int32
        var configuration: Int32
        var log: Int32

        var descriptors: [Int32] { [standardError, control, page, configuration, log] }
    }

    /// Spawns a worker from this very program file, even if its path has been given to another meanwhile. Returns its
    /// process id.
    func launch(_ birth: WorkerBirth, _ inheritance: Inheritance) throws(HandoffError) -> pid_t {
        try spawn(
            "/proc/self/exe", adding: "\(WorkerBirth.variable)=\(birth.encoded)", inheritance.descriptors,
            from: STDERR_FILENO)
    }

    /// Spawns `path` with our command line and one more variable; `descriptors` become `first` and those after it, and it
    /// leads a process group. Returns its process id.
    func spawn(
        _ path: String, adding variable: String, _ descriptors: [Int32], from first: Int32
    ) throws(HandoffError) -> pid_t {
        var pid: pid_t = 0
        let result = Self.withCStrings(arguments) { arguments in
            Self.withCStrings(environment + [variable]) { environment in
                csocket_spawn(path, arguments, environment, first, descriptors, UInt32(descriptors.count), &pid)
            }
        }
        guard result == 0 else { throw HandoffError(call: "posix_spawn", errno: -result) }
        return pid
    }

    /// Replaces this process by `path` with our command line and one more variable. Returns only when that failed.
    func replaceSelf(_ path: String, adding variable: String) -> Int32 {
        Self.withCStrings(arguments) { arguments in
            Self.withCStrings(environment + [variable]) { environment in
                execve(path, arguments, environment)
                return errno
            }
        }
    }

    /// A null-terminated array of C strings, valid during the call.
    private static func withCStrings<Result>(
        _ strings: [String], _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> Result
    ) -> Result {
        var pointers: [UnsafeMutablePointer<CChar>?] = strings.map { strdup($0) }
        pointers.append(nil)
        defer { for pointer in pointers { free(pointer) } }
        return pointers.withUnsafeMutableBufferPointer { body($0.baseAddress!) }
    }
}
