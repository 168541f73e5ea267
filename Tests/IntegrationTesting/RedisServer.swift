import Foundation
import Transport

/// A redis-server without persistence, on a TCP port and a Unix-domain socket.
final class RedisServer {
    let port: UInt16
    var socketPath: String { directory.path("redis.sock") }
    private let directory: TemporaryDirectory
    private let process: ChildProcess

    init() throws {
        directory = try TemporaryDirectory()
        port = try Placeholder.freePort()
        let socketPath = directory.path("redis.sock")
        let process = try ChildProcess(
            "redis-server",
            [
                "--port", "\(port)", "--bind", "127.0.0.1", "--unixsocket", socketPath, "--dir", directory.root,
                "--save", "", "--appendonly", "no",
            ])
        self.process = process
        do {
            try wait(for: "redis-server:\n\(process.output)") { (try? Client(to: .unix(path: socketPath))) != nil }
        } catch {
            process.kill()
            throw error
        }
    }

    func stop() { process.stop() }

    /// How often ``statistic(_:)`` was asked: each time by a connection, which the server counts like any other.
    private(set) var questions = 0

    /// A number from INFO.
    func statistic(_ name: String) throws -> Int {
        questions += 1
        let text = try ChildProcess.succeed("redis-cli", ["-s", socketPath, "INFO"])
        let line = text.split(whereSeparator: \.isNewline).first { $0.hasPrefix("\(name):") }
        guard let number = line.flatMap({ Int($0.dropFirst(name.count + 1)) }) else {
            throw HarnessError("no \(name) in:\n\(text)")
        }
        return number
    }
}
