import Foundation
import Testing
import Transport

@testable import IntegrationTesting

/// An nginx that serves one file of 64 KiB, `/file`, on a port of 127.0.0.1.
private final class NginxServer {
    let port: UInt16
    private let directory: TemporaryDirectory
    private let process: ChildProcess

    init() throws {
        let directory = try TemporaryDirectory()
        self.directory = directory
        port = try Placeholder.freePort()
        try Data(Integration.randomBytes[..<(64 << 10)]).write(to: URL(filePath: directory.path("file")))
        let temporaryPaths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map { "\($0)_temp_path \(directory.path($0));" }.joined(separator: " ")
        let configuration = """
            daemon off; worker_processes 1; pid \(directory.path("pid")); error_log stderr;
            \(getuid() == 0 ? "user root;" : "")
            events { worker_connections 512; }
            http {
                access_log off; \(temporaryPaths)
                server { listen 127.0.0.1:\(port); root \(directory.root); }
            }
            """
        try Data(configuration.utf8).write(to: URL(filePath: directory.path("nginx.conf")))
        let process = try ChildProcess("nginx", ["-c", directory.path("nginx.conf"), "-p", directory.root])
        self.process = process
        do {
            let address = SocketAddress.ipv4(INADDR_LOOPBACK, port: port)
            try wait(for: "nginx:\n\(process.errors)") { (try? Client(to: address)) != nil }
        } catch {
            process.kill()
            throw error
        }
    }

    func stop() { process.stop() }
}

extension Integration {
    @Suite(.serialized, .needs("nginx", "wrk"))
    struct NginxTests {
        @Test(
            "wrk runs through the proxy to nginx without a socket error and without an answer other than 2xx",
            arguments: [[], ["-H", "Connection: close"]])
        func wrk(options: [String]) throws {
            let nginx = try NginxServer()
            defer { nginx.stop() }
            let proxy = try Ringmaster(
                "proxy", "--listen", "127.0.0.1:0", "--upstream", "127.0.0.1:\(nginx.port)", "--workers", "2")
            defer { proxy.kill() }

            let url = "http://127.0.0.1:\(proxy.address.port!)/file"
            let output = try ChildProcess.succeed("wrk", ["-t1", "-c32", "-d2s"] + options + [url])
            #expect(!output.contains(" 0 requests in "), "\(output)")
            #expect(output.contains(" requests in "), "\(output)")
            #expect(!output.contains("Socket errors"), "\(output)")
            #expect(!output.contains("Non-2xx"), "\(output)")
        }
    }
}
