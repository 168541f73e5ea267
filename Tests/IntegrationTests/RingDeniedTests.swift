import Foundation
import Testing

@testable import IntegrationTesting

extension Integration {
    /// io_uring forbidden by a seccomp filter, as container engines do.
    @Suite(.serialized, .needs("cc"))
    struct RingDeniedTests {
        /// Builds the launcher that denies, and calls `body` with its path.
        private func withLauncher(_ body: (String) throws -> Void) throws {
            let directory = try TemporaryDirectory()
            let source = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Fixtures/deny_uring.c")
            let launcher = directory.path("deny_uring")
            _ = try ChildProcess.succeed("cc", ["-Wall", "-Werror", "-o", launcher, source.path])
            try withExtendedLifetime(directory) { try body(launcher) }
        }

        private static func anonymousDescriptors(_ pid: pid_t) -> [String] {
            ProcessTable.descriptors(of: pid).filter { $0.hasPrefix("anon_inode:") }
        }

        @Test(
            "where it is denied, supervisor and workers serve with epoll, and one line says why",
            arguments: ["EPERM", "ENOSYS"])
        func fallsBack(error: String) throws {
            try withLauncher { launcher in
                let server = try Ringmaster(
                    "echo", "--listen", "127.0.0.1:0", "--workers", "2", launcher: [launcher, error])
                defer { server.kill() }
                let lines = server.process.errors.split(separator: "\n").filter { $0.contains("epoll") }
                #expect(lines.count == 2, "the cause, and the transport in `ready`: \(lines)")
                for word in ["notice", "seccomp", error, "docker/seccomp.json"] {
                    #expect(lines.first?.contains(word) == true, "\(lines)")
                }
                #expect(lines.last?.contains("ready transport=epoll workers=2") == true, "\(lines)")
                try Self.expectEcho(server, descriptor: "anon_inode:[eventpoll]")
            }
        }

        @Test("--transport epoll makes no ring where there could be one")
        func switchedOff() throws {
            let server = try Ringmaster("echo", "--listen", "127.0.0.1:0", "--transport", "epoll")
            defer { server.kill() }
            try Self.expectEcho(server, descriptor: "anon_inode:[eventpoll]")
        }

        @Test("RINGMASTER_TRANSPORT=epoll does the same")
        func switchedOffByEnvironment() throws {
            let server = try Ringmaster(
                "echo", "--listen", "127.0.0.1:0", environment: ["RINGMASTER_TRANSPORT": "epoll"])
            defer { server.kill() }
            try Self.expectEcho(server, descriptor: "anon_inode:[eventpoll]")
        }

        /// Bytes come back through each worker, and every process has the one kind of descriptor and not the other.
        private static func expectEcho(_ server: Ringmaster, descriptor: String) throws {
            for round in 0..<4 {
                let client = try server.connect()
                #expect(try client.echoes("round \(round)"))
            }
            for pid in [server.process.pid] + server.workers {
                let descriptors = Self.anonymousDescriptors(pid)
                #expect(descriptors.contains(descriptor), "\(descriptors)")
                #expect(!descriptors.contains("anon_inode:[io_uring]"), "\(descriptors)")
            }
        }

        @Test(
            "with --transport io_uring a denial ends a start with exit code 5 and one line that says by what",
            arguments: ["EPERM", "ENOSYS"])
        func start(error: String) throws {
            try withLauncher { launcher in
                let process = try Ringmaster.run(
                    ["echo", "--listen", "127.0.0.1:0", "--workers", "1", "--transport", "io_uring"],
                    launcher: [launcher, error])
                #expect(process.poll() == .exited(5), "\(process.errors)")
                #expect(process.errors.split(separator: "\n").count == 1, "\(process.errors)")
                for word in ["io_uring", "seccomp", error] {
                    #expect(process.errors.contains(word), "\(process.errors)")
                }
            }
        }

        @Test("`check` reports the denial, its cause and epoll, and succeeds; with --transport io_uring it ends with 5")
        func check() throws {
            try withLauncher { launcher in
                for (options, code) in [([], 0), (["--transport", "io_uring"], 5)] as [([String], Int32)] {
                    let process = try Ringmaster.run(["check"] + options, launcher: [launcher, "EPERM"])
                    #expect(process.poll() == .exited(code), "\(process.output)\(process.errors)")
                    let lines = process.output.split(separator: "\n")
                    #expect(lines.contains { $0.hasPrefix("io_uring") && $0.contains("seccomp") }, "\(lines)")
                    let transport = lines.first { $0.hasPrefix("transport") }
                    #expect(transport?.contains(code == 0 ? "epoll" : "none") == true, "\(lines)")
                }
                let poor = Ringmaster.descriptorLimit(150) + [launcher, "EPERM"]
                let process = try Ringmaster.run(
                    ["check", "--workers", "2", "--transport", "io_uring"], launcher: poor)
                #expect(process.poll() == .exited(5), "\(process.output)\(process.errors)")
                let verdict = try #require(process.output.split(separator: "\n").last)
                #expect(verdict.contains("seccomp") && verdict.contains("RLIMIT_NOFILE is 150"), "\(verdict)")
            }
        }
    }
}
