import Foundation
import Transport

/// A running `ringmaster`, ready to serve.
final class Ringmaster {
    let process: ChildProcess
    /// The addresses that it really bound, in the order of its `--listen` options.
    let addresses: [SocketAddress]

    /// The built binary: beside the test bundle, or where RINGMASTER_BINARY says.
    static let binary: String = {
        if let path = ProcessInfo.processInfo.environment["RINGMASTER_BINARY"] { return path }
        return built("ringmaster")
    }()

    /// A program of this package, built beside the test bundle.
    static func built(_ program: String) -> String {
        let bundle = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
        return URL(filePath: bundle).deletingLastPathComponent().appending(path: program).path
    }

    /// Starts `ringmaster` with these arguments, through `launcher` if there is one, and waits until it says `ready`.
    convenience init(_ arguments: String..., launcher: [String] = [], environment: [String: String] = [:]) throws {
        try self.init(arguments: arguments, launcher: launcher, environment: environment)
    }

    /// The same with a list of arguments, and with a copy of the binary if one is named.
    init(
        arguments: [String], binary: String = Ringmaster.binary, launcher: [String] = [],
        environment: [String: String] = [:]
    ) throws {
        let command = try Self.command(arguments, binary: binary, launcher: launcher)
        let process = try ChildProcess(command[0], Array(command[1...]), environment: environment)
        self.process = process
        do {
            try wait(for: "`ready`; ringmaster wrote:\n\(process.errors)") {
                if let ending = process.poll() {
                    throw HarnessError("ringmaster \(arguments): \(ending)\n\(process.errors)")
                }
                return process.errors.split(separator: "\n").contains { $0.contains(": ready") }
            }
            addresses = try Self.addresses(in: process.errors)
        } catch {
            process.kill()
            throw error
        }
    }

    /// The address of the first listener.
    var address: SocketAddress { addresses[0] }

    /// The workers that run now, in the order of their process numbers.
    var workers: [pid_t] { ProcessTable.children(of: process.pid) }

    /// Connects to the first listener.
    func connect() throws -> Client { try Client(to: address) }

    /// Ends the supervisor and the workers at once. The supervisor goes first, lest it replace a worker.
    func kill() {
        let workers = workers
        process.kill()
        for worker in workers where ProcessTable.isRunning(worker) { Glibc.kill(worker, SIGKILL) }
    }

    /// Runs `ringmaster` to its end, for commands and for input that it refuses.
    static func run(
        _ arguments: [String], launcher: [String] = [], environment: [String: String] = [:]
    ) throws -> ChildProcess {
        let command = try command(arguments, launcher: launcher)
        return try ChildProcess.run(
            command[0], Array(command[1...]), environment: environment)
    }

    /// A launcher that runs a command with another limit on its descriptors, soft and hard.
    static func descriptorLimit(_ count: Int) -> [String] {
        ["bash", "-c", "ulimit -n \(count) && exec \"$0\" \"$@\""]
    }

    private static func command(
        _ arguments: [String], binary: String = binary, launcher: [String]
    ) throws -> [String] {
        guard FileManager.default.isExecutableFile(atPath: binary) else {
            throw HarnessError("no \(binary): run `swift build`, or name the binary in RINGMASTER_BINARY")
        }
        return launcher + [binary] + arguments
    }

    /// The value of `address=` in each line that announces a listener.
    static func addresses(in log: String) throws -> [SocketAddress] {
        try log.split(separator: "\n").filter { $0.contains(" listening ") }.map { line in
            guard let field = line.split(separator: " ").first(where: { $0.hasPrefix("address=") }) else {
                throw HarnessError("no address= in: \(line)")
            }
            return try SocketAddress(parsing: field.dropFirst("address=".count).trimmingPrefix("\""))
        }
    }
}

extension SocketAddress {
    /// Reads what `description` writes: `127.0.0.1:80`, `[::1]:80` or `unix:/path`.
    init(parsing text: Substring) throws {
        let text = text.hasSuffix("\"") ? text.dropLast() : text
        if text.hasPrefix("unix:") {
            self = .unix(path: String(text.dropFirst("unix:".count)))
            return
        }
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]),
            let address = SocketAddress(
                numericHost: text[..<colon].filter { $0 != "[" && $0 != "]" }, port: port)
        else { throw HarnessError("not an address: \(text)") }
        self = address
    }
}
