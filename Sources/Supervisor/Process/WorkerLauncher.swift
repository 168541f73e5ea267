import CSocket
import Glibc
import Handoff

/// Starts worker processes: this program again, with the same command line, in a worker's place.
public struct WorkerLauncher: Sendable {
    private let executable: String
    private let arguments: [String]
    private let environment: [String]

    /// Workers run this very program file, even if its path has been given to another meanwhile.
    ///
    /// - Parameters:
    ///   - arguments: the supervisor's own, the program's name first.
    ///   - environment: `NAME=value` each.
    public init(arguments: [String], environment: [String]) {
        executable = "/proc/self/exe"
        self.arguments = arguments
        self.environment = environment.filter { !$0.hasPrefix(WorkerBirth.variable + "=") }
    }

    /// Spawns a worker that inherits one end of a hand-off socket and a status page. Returns its process id.
    func launch(_ birth: WorkerBirth, control: Int32, page: Int32) throws(HandoffError) -> pid_t {
        let configuration = open("/dev/null", O_RDONLY | O_CLOEXEC)
        guard configuration >= 0 else { throw HandoffError(call: "open /dev/null", errno: errno) }
        defer { close(configuration) }
        // In the order of WorkerBirth's descriptors, 3 and up.
        let descriptors = [control, page, configuration, STDERR_FILENO]
        let environment = environment + ["\(WorkerBirth.variable)=\(birth.encoded)"]
        var pid: pid_t = 0
        let result = Self.withCStrings(arguments) { arguments in
            Self.withCStrings(environment) { environment in
                csocket_spawn(executable, arguments, environment, descriptors, UInt32(descriptors.count), &pid)
            }
        }
        guard result == 0 else { throw HandoffError(call: "posix_spawn", errno: -result) }
        return pid
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
