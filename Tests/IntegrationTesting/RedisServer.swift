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
}
