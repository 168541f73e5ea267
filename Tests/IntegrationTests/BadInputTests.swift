import Foundation
import Testing
import Transport

@testable import IntegrationTesting

extension Integration {
    /// What is wrong on the command line is said in one line that names it and the remedy, with its own exit code.
    @Suite(.serialized)
    struct BadInputTests {
        private func expectRefusal(
            _ arguments: [String], code: Int32, naming words: [String], launcher: [String] = [],
            environment: [String: String] = [:], sourceLocation: SourceLocation = #_sourceLocation
        ) throws {
            let process = try Ringmaster.run(arguments, launcher: launcher, environment: environment)
            let lines = process.errors.split(separator: "\n")
            #expect(process.poll() == .exited(code), "\(process.errors)", sourceLocation: sourceLocation)
            #expect(lines.count == 1, "\(process.errors)", sourceLocation: sourceLocation)
            #expect(process.output.isEmpty, sourceLocation: sourceLocation)
            for word in words {
                #expect(
                    process.errors.localizedCaseInsensitiveContains(word), "\(word) is not named: \(process.errors)",
                    sourceLocation: sourceLocation)
            }
        }

        private static let upstream = ["--upstream", "127.0.0.1:9"]
        private static let listen = ["--listen", "127.0.0.1:0"]

        @Test(
            "a malformed option is refused with exit code 2",
            arguments: [
                (["echo", "--listen", "127.0.0.1"], ["127.0.0.1", "port"]),
                (["echo", "--listen", "127.0.0.1:99999"], ["99999", "65535"]),
                (["echo", "--listen", "[::1:80"], ["[::1:80", "]"]),
                (["echo", "--listen", "unix:"], ["unix:", "path"]),
                (["echo", "--listen", "unix:/tmp/" + String(repeating: "a", count: 200)], ["107"]),
                (["echo", "--listen", "no-such-host.invalid:80"], ["no-such-host.invalid"]),
                (["echo"] + listen + ["--frobnicate"], ["--frobnicate", "--help"]),
                (["frobnicate"], ["frobnicate", "--help"]),
                (["echo"] + listen + ["--workers", "0"], ["--workers", "0", "auto"]),
                (["echo"] + listen + ["--workers", "-1"], ["--workers", "'-1'", "from 1 to 1024", "auto"]),
                (["echo"] + listen + ["--workers", "100000"], ["--workers", "100000"]),
                (["echo"] + listen + ["--workers", "many"], ["--workers", "many", "auto"]),
                (["echo"] + listen + ["--balance", "chance"], ["--balance", "chance", "round-robin"]),
                (["echo"] + listen + ["--grace", "soon"], ["--grace", "soon"]),
                (["echo"] + listen + ["--grace", "-1"], ["--grace", "'-1'", "from 0 to 31536000"]),
                (["echo"] + listen + ["--max-connections", "-1"], ["--max-connections -1", "from 1 to"]),
                (["check", "--workers", "-1"], ["--workers", "'-1'", "from 1 to 1024"]),
                (["status", "--control", "/nowhere", "--timeout", "-1"], ["--timeout", "'-1'", "from 0 to"]),
                (["echo"] + listen + ["--backlog", "0"], ["--backlog", "0"]),
                (["echo"] + listen + ["--max-connections", "0"], ["--max-connections", "0"]),
                (["echo"] + listen + ["--log-format", "xml"], ["--log-format", "xml", "json"]),
                (["proxy"] + listen, ["--upstream"]),
                (["proxy"] + upstream, ["--listen"]),
                (["proxy"] + listen + ["--upstream", "127.0.0.1"], ["127.0.0.1", "port"]),
                (["proxy"] + listen + ["--upstream", "no-such-host.invalid:80"], ["no-such-host.invalid", "resolve"]),
            ])
        func malformed(arguments: [String], words: [String]) throws {
            try expectRefusal(arguments, code: 2, naming: words)
        }

        @Test("a bad value in the environment is refused under the variable's name")
        func malformedEnvironment() throws {
            try expectRefusal(
                ["echo"] + Self.listen, code: 2, naming: ["RINGMASTER_WORKERS", "many"],
                environment: ["RINGMASTER_WORKERS": "many"])
        }

        @Test("an address in use is refused with exit code 6")
        func addressInUse() throws {
            let occupied = try Placeholder(isListening: true)
            defer { occupied.close() }
            try expectRefusal(
                ["echo", "--listen", "\(occupied.address)"], code: 6, naming: ["\(occupied.address)", "in use"])
        }

        @Test("an address of another machine (TEST-NET-1, RFC 5737) is refused with exit code 6")
        func foreignAddress() throws {
            try expectRefusal(["echo", "--listen", "192.0.2.1:0"], code: 6, naming: ["192.0.2.1"])
        }

        @Test("a Unix path that exists is refused with exit code 6, and what is there stays there")
        func unixPathExists() throws {
            let directory = try TemporaryDirectory()
            let path = directory.path("file")
            try Data("precious".utf8).write(to: URL(filePath: path))
            try expectRefusal(["echo", "--listen", "unix:\(path)"], code: 6, naming: [path, "exists"])
            #expect(FileManager.default.contents(atPath: path) == Data("precious".utf8))
        }

        @Test("a limit of open files too low for a start is refused with exit code 7")
        func descriptorLimitTooLow() throws {
            try expectRefusal(
                ["echo", "--workers", "1"] + Self.listen, code: 7, naming: ["open files", "64", "ulimit -n"],
                launcher: Ringmaster.descriptorLimit(64))
        }

        @Test("more connections than the limit of open files allows are refused with exit code 7")
        func tooManyConnections() throws {
            try expectRefusal(
                ["echo", "--workers", "1", "--max-connections", "10000"] + Self.listen, code: 7,
                naming: ["--max-connections 10000", "512", "ulimit -n"], launcher: Ringmaster.descriptorLimit(512))
        }
    }
}
