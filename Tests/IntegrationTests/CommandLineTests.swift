import Foundation
import Testing
import Transport

@testable import IntegrationTesting

extension Integration {
    @Suite(.serialized)
    struct CommandLineTests {
        @Test("`check` tells the kernel, io_uring's features, the limits and the number of workers, and succeeds")
        func check() throws {
            let process = try Ringmaster.run(["check"])
            #expect(process.poll() == .exited(0), "\(process.output)\(process.errors)")
            var system = utsname()
            uname(&system)
            let release = withUnsafeBytes(of: system.release) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            let features =
                switch try TransportPreference.auto.decide().transport {
                case .ioUring: ["multishot"]
                case .epoll: ["not available"]
                }
            let words = [release, "io_uring", "available", "NOFILE", "MEMLOCK", "CPU", "workers", "can serve here"]
            for word in words + features {
                #expect(process.output.localizedCaseInsensitiveContains(word), "\(word): \(process.output)")
            }
        }

        @Test("`check` ends with a verdict, where serving would fail with the same reason and exit code")
        func verdict() throws {
            let launcher = Ringmaster.descriptorLimit(150)
            let check = try Ringmaster.run(["check", "--workers", "2"], launcher: launcher)
            let echo = try Ringmaster.run(["echo", "--workers", "2", "--listen", "127.0.0.1:0"], launcher: launcher)
            #expect(check.poll() == .exited(7) && echo.poll() == .exited(7), "\(check.output)\(check.errors)")
            let verdict = try #require(check.output.split(separator: "\n").last)
            let reason = echo.errors.trimmingPrefix("ringmaster: ").split(separator: "\n")[0]
            #expect(
                verdict.hasPrefix("verdict ") && verdict.hasSuffix("ringmaster cannot serve here: \(reason)"),
                "\(verdict)")
        }

        @Test("--help succeeds and shows examples and every command")
        func help() throws {
            let process = try Ringmaster.run(["--help"])
            #expect(process.poll() == .exited(0))
            for word in ["example", "ringmaster http", "ringmaster proxy", "ringmaster echo", "ringmaster check"] {
                #expect(process.output.localizedCaseInsensitiveContains(word), "\(process.output)")
            }
        }

        @Test(
            "a command's --help names every common option and its environment variable",
            arguments: ["http", "echo", "proxy"])
        func commandHelp(command: String) throws {
            let process = try Ringmaster.run([command, "--help"])
            #expect(process.poll() == .exited(0))
            let options = [
                "workers", "listen", "balance", "transport", "max-connections", "backlog", "grace", "log-level",
                "log-format",
            ]
            for option in options {
                let variable = "RINGMASTER_" + option.uppercased().replacing("-", with: "_")
                #expect(process.output.contains("--\(option)"), "--\(option) is missing: \(process.output)")
                #expect(process.output.contains(variable), "\(variable) is missing: \(process.output)")
            }
        }

        @Test("environment variables stand in for options")
        func environment() throws {
            let echo = try Ringmaster(
                "echo", environment: ["RINGMASTER_WORKERS": "3", "RINGMASTER_LISTEN": "127.0.0.1:0"])
            defer { echo.kill() }
            #expect(echo.workers.count == 3)
            #expect(try echo.connect().echoes("hello"))
            let proxy = try Ringmaster(
                "proxy", "--listen", "127.0.0.1:0",
                environment: ["RINGMASTER_UPSTREAM": "\(echo.address)", "RINGMASTER_WORKERS": "1"])
            defer { proxy.kill() }
            #expect(proxy.workers.count == 1)
            #expect(try proxy.connect().echoes("hello"))
        }

        @Test("an option on the command line wins over the environment")
        func optionWins() throws {
            let echo = try Ringmaster(
                "echo", "--listen", "127.0.0.1:0", "--workers", "1", environment: ["RINGMASTER_WORKERS": "2"])
            defer { echo.kill() }
            #expect(echo.workers.count == 1)
        }

        @Test("--workers auto counts the processors that the process may run on")
        func automaticWorkers() throws {
            let echo = try Ringmaster(
                "echo", "--listen", "127.0.0.1:0", "--workers", "auto", launcher: ["taskset", "-c", "0"])
            defer { echo.kill() }
            #expect(echo.workers.count == 1)
        }

        @Test("--log-format json makes every line of the log a JSON object")
        func jsonLog() throws {
            let process = try ChildProcess(
                Ringmaster.binary,
                ["echo", "--listen", "127.0.0.1:0", "--workers", "1", "--log-format", "json"])
            defer { process.kill() }
            try wait(for: "`ready` in:\n\(process.errors)") { process.errors.contains("ready") }
            process.signal(SIGTERM)
            #expect(try process.waitForEnd() == .exited(0))
            let lines = process.errors.split(separator: "\n")
            #expect(lines.count >= 2)
            for line in lines {
                let object = try? JSONSerialization.jsonObject(with: Data(line.utf8))
                #expect(object is [String: Any], "\(line)")
            }
        }
    }
}
