import Foundation
import Testing
import Transport

@testable import IntegrationTesting

extension Integration {
    /// What an upgrade makes of a configuration file that has changed since.
    @Suite(.serialized)
    struct UpgradeConfigurationTests {
        private static func file(_ control: String, _ listeners: [String], more: String = "") -> String {
            let list = listeners.map { "  - listen: \($0)\n    service: echo\n" }.joined()
            return "workers: 1\ncontrol: \(control)\n\(more)\nlisteners:\n\(list)"
        }

        private static func path(_ directory: TemporaryDirectory, _ name: String) -> String {
            "unix:\(directory.path(name))"
        }

        private static func serves(_ directory: TemporaryDirectory, _ name: String) -> Bool {
            guard let client = try? Client(to: .unix(path: directory.path(name))) else { return false }
            defer { client.close() }
            return (try? client.echoes("hello")) == true
        }

        @Test("new listeners serve, those that are gone are closed, and their connections live on")
        func listeners() throws {
            let directory = try TemporaryDirectory()
            let pool = try Pool(configuration: {
                Self.file($0, [Self.path(directory, "a"), Self.path(directory, "b")])
            })
            defer { pool.kill() }
            let client = try Client(to: .unix(path: directory.path("a")))
            #expect(try client.echoes("before"))
            try pool.configure { Self.file($0, [Self.path(directory, "b"), Self.path(directory, "c")]) }
            try pool.succeed("upgrade")
            #expect(try client.echoes("after"))
            #expect(!Self.serves(directory, "a"))
            #expect(Self.serves(directory, "b") && Self.serves(directory, "c"))
            #expect(access(directory.path("a"), F_OK) != 0)
        }

        @Test("an address that is taken sends the process back, and the old listeners go on")
        func addressInUse() throws {
            let directory = try TemporaryDirectory()
            let other = try Ringmaster("echo", "--listen", Self.path(directory, "taken"), "--workers", "1")
            defer { other.kill() }
            let binary = try BinaryCopy()
            let pool = try Pool(
                configuration: { Self.file($0, [Self.path(directory, "a")]) }, binary: binary.path)
            defer { pool.kill() }
            let pid = pool.ringmaster.process.pid
            let descriptors = ProcessTable.descriptors(of: pid).count
            try pool.configure {
                Self.file($0, [Self.path(directory, "new"), Self.path(directory, "taken"), Self.path(directory, "a")])
            }
            try binary.replace()
            let failed = try pool.run("upgrade")
            #expect(failed.poll() == .exited(1))
            #expect((failed.output + failed.errors).contains("a server answers there"), "\(failed.errors)")
            #expect(!binary.isRun(by: pid), "it is the old program again")
            #expect(Self.serves(directory, "a") && Self.serves(directory, "taken") && !Self.serves(directory, "new"))
            #expect(try pool.settle().pool.generation == 0)
            try wait(for: "as many descriptors as before\n\(ProcessTable.descriptors(of: pid))") {
                ProcessTable.descriptors(of: pid).count <= descriptors
            }
        }

        @Test("what an upgrade cannot change, and a file that is wrong, are refused before anything happens")
        func refused() throws {
            let directory = try TemporaryDirectory()
            let pool = try Pool(configuration: { Self.file($0, [Self.path(directory, "a")]) })
            defer { pool.kill() }
            for (text, reason) in [
                (Self.file(directory.path("elsewhere"), [Self.path(directory, "a")]), "cannot change the control"),
                ("workers: 1\n", "listeners is missing"),
            ] {
                try pool.configure { _ in text }
                let refused = try pool.run("upgrade")
                #expect(refused.poll() == .exited(1))
                #expect((refused.output + refused.errors).contains(reason), "\(refused.output)\(refused.errors)")
                #expect(Self.serves(directory, "a"))
            }
            #expect(try pool.status().pool.generation == 0)
        }
    }
}
