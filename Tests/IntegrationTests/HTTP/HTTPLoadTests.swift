import Foundation
import Testing
import Transport

@testable import IntegrationTesting

extension Integration {
    /// `ringmaster http` under load, while nothing and while much happens to it.
    @Suite(.serialized, .needs("wrk", "ab", "h2load", "curl", "openssl"))
    struct HTTPLoadTests {
        /// Requests that h2load has begun, finished and had answered, as it says.
        private struct H2Load {
            let started, done, succeeded: Int

            init(_ output: String) throws {
                let line = output.split(separator: "\n").first { $0.hasPrefix("requests: ") }
                let numbers = (line ?? "").split { !$0.isNumber }.compactMap { Int($0) }
                guard numbers.count == 7 else { throw HarnessError("no requests in: \(output)") }
                (started, done, succeeded) = (numbers[1], numbers[2], numbers[3])
            }
        }

        /// Each request that came was answered, and each answer arrived. What h2load has begun is no measure of it: it counts a
        /// request too that it had queued, and could not send any more, when GOAWAY came.
        private static func expectAllServed(_ site: HTTPSite, _ arrived: Int) throws {
            func served() -> Int { site.pool.ringmaster.process.errors.split(separator: "status=200").count - 1 }
            try wait(for: "a line for each of \(arrived) answers: \(served())") { served() >= arrived }
            #expect(served() == arrived)
        }

        private static func socketErrors(_ output: String) -> [Int] {
            guard let line = output.split(separator: "\n").first(where: { $0.contains("Socket errors") }) else {
                return []
            }
            return line.split { !$0.isNumber }.compactMap { Int($0) }
        }

        private static func expectFaultless(_ output: String) {
            #expect(output.contains(" requests in ") && !output.contains(" 0 requests in "), "\(output)")
            #expect(!output.contains("Socket errors") && !output.contains("Non-2xx"), "\(output)")
        }

        @Test("wrk: no socket error, and no answer other than 2xx", arguments: [nil, "localhost"])
        func wrk(certificate: String?) throws {
            let site = try HTTPSite(certificate: certificate)
            defer { site.kill() }
            try site.write("large", Data(count: 300_000))
            for path in ["/a.txt", "/large"] {
                Self.expectFaultless(try ChildProcess.succeed("wrk", ["-t1", "-c32", "-d2s", site.url(path)]))
            }
        }

        @Test("ab, which speaks HTTP/1.0, with connections that are kept and that are not", arguments: [["-k"], []])
        func ab(options: [String]) throws {
            let site = try HTTPSite()
            defer { site.kill() }
            let output = try ChildProcess.succeed(
                "ab", ["-q", "-n", "2000", "-c", "20"] + options + [site.url("/a.txt")])
            func number(_ name: String) -> Int? {
                output.split(separator: "\n").first { $0.hasPrefix(name) }?.split(separator: " ").last.flatMap {
                    Int($0)
                }
            }
            #expect(number("Complete requests:") == 2000 && number("Failed requests:") == 0, "\(output)")
            #expect((number("Keep-Alive requests:") ?? 0) == (options.isEmpty ? 0 : 2000), "\(output)")
        }

        @Test("h2load: every request is answered")
        func h2load() throws {
            let site = try HTTPSite(certificate: "localhost")
            defer { site.kill() }
            try site.write("large", Data(count: 300_000))
            for (path, count) in [("/a.txt", 3000), ("/large", 300)] {
                let output = try ChildProcess.succeed(
                    "h2load", ["-n", "\(count)", "-c", "8", "-m", "10", site.url(path)])
                #expect(try H2Load(output).succeeded == count, "\(output)")
                #expect(output.contains("\(count) 2xx"), "\(output)")
            }
        }

        // MARK: While files change

        @Test("a file that is replaced is sent as it was or as it is, and never as a mixture")
        func replaced() throws {
            let site = try HTTPSite()
            defer { site.kill() }
            let (size, requests) = (1 << 20, 200)
            let versions = (0..<2).map { Data(repeating: UInt8(ascii: "a") + $0, count: size + Int($0)) }
            try site.write("file", versions[0])
            let load = try ChildProcess(
                "curl",
                ["-sS", "-Z", "--parallel-max", "8", "-o", site.path("got-#1"), "-w", "%{http_code}\n"]
                    + [site.url("/file?[1-\(requests)]")])
            defer { load.kill() }
            var replacements = 0
            while load.poll() == nil {
                replacements += 1
                try site.write("file", versions[replacements % 2])
            }
            #expect(load.poll() == .exited(0), "\(load.errors)")
            #expect(load.output.split(separator: "\n") == Array(repeating: "200", count: requests))
            #expect(replacements > 2)
            for number in 1...requests {
                let got = try Data(contentsOf: URL(filePath: site.path("got-\(number)")))
                #expect(versions.contains(got), "answer \(number)")
            }
        }

        @Test("a file that becomes shorter while it is sent ends its own connection, and nothing else")
        func truncated() throws {
            let site = try HTTPSite(workers: 1)
            defer { site.kill() }
            try site.write("file", Data(count: 64 << 20))
            let neighbour = try site.pool.ringmaster.connect()
            let client = try Client(to: site.address, bufferBytes: 64 << 10)
            defer { [neighbour, client].closeAll() }
            try client.send("GET /file HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(try client.receive(100_000).hasPrefix("HTTP/1.1 200 "))
            #expect(truncate(site.path("file"), 1000) == 0)
            // It may end by a reset: what was promised cannot be sent.
            #expect(((try? client.receive(.max)) ?? "").utf8.count < 64 << 20)
            #expect(try HTTPSite.gets("hello\n", neighbour))
            #expect(try site.curl("-o", "/dev/null", "-w", "%{size_download}", path: "/file") == "1000")
        }

        // MARK: While workers change

        /// Two reloads, two upgrades, fewer workers and more.
        private static func change(_ site: HTTPSite, _ binary: BinaryCopy) throws {
            for _ in 0..<2 {
                try site.pool.succeed("reload")
                try binary.replace()
                try site.pool.succeed("upgrade")
            }
            try site.pool.succeed("scale", "1")
            try site.pool.succeed("scale", "3")
        }

        @Test("wrk fails no request through reloads, upgrades and scaling", arguments: [nil, "localhost"])
        func workersChange(certificate: String?) throws {
            let binary = try BinaryCopy()
            let site = try HTTPSite(certificate: certificate, binary: binary.path)
            defer { site.kill() }
            let load = try ChildProcess("wrk", ["-t1", "-c16", "-d12s", site.url("/a.txt")])
            defer { load.kill() }
            try Self.change(site, binary)
            #expect(load.poll() == nil, "the load outlasts the changes")
            #expect(try load.waitForEnd() == .exited(0))
            Self.expectFaultless(load.output)
        }

        @Test("connections that are kept and idle live through reloads, upgrades and scaling; busy ones finish first")
        func idleOnes() throws {
            let binary = try BinaryCopy()
            let site = try HTTPSite(binary: binary.path)
            defer { site.kill() }
            try site.write("large", Data(count: 16 << 20))
            let idle = try (0..<50).map { _ in try site.pool.ringmaster.connect() }
            let busy = try Client(to: site.address, bufferBytes: 64 << 10)
            defer { (idle + [busy]).closeAll() }
            for client in idle { #expect(try HTTPSite.gets("hello\n", client)) }
            try busy.send("GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
            var received = try busy.receive(100_000).utf8.count
            try Self.change(site, binary)
            for client in idle { #expect(try HTTPSite.gets("hello\n", client)) }
            received += try busy.receive((16 << 20) - received).utf8.count
            #expect(received == 16 << 20)
        }

        /// Client: 64 KiB of room for each answer, so that its end waits for the client. It does not connect again.
        @Test("HTTP/2: answers that wait for the client to make room are sent to their end when the worker leaves")
        func windows() throws {
            let site = try HTTPSite(certificate: "localhost", arguments: ["--access-log"])
            defer { site.kill() }
            try site.write("large", Data(count: 100_000))
            let load = try ChildProcess(
                "h2load", ["-n", "100000", "-c", "8", "-m", "10", "-w", "16", "-W", "24", site.url("/large")])
            defer { load.kill() }
            try wait(for: "connections") { try site.pool.status().pool.workers.reduce(0) { $0 + $1.live } >= 8 }
            try site.pool.succeed("reload")
            try load.waitForEnd()
            let counts = try H2Load(load.output)
            #expect(counts.started > 0 && counts.started < 100_000)
            #expect(counts.done == counts.started, "\(load.output)")
            try Self.expectAllServed(site, counts.succeeded)
        }

        @Test("HTTP/2: each request that was begun is answered through reloads and upgrades, and each answer arrives")
        func goAway() throws {
            let binary = try BinaryCopy()
            let site = try HTTPSite(
                certificate: "localhost", binary: binary.path, arguments: ["--access-log"])
            defer { site.kill() }
            // It does not connect again when it is told that a connection ends, and counts what it has not begun as failed.
            let load = try ChildProcess("h2load", ["-n", "100000", "-c", "8", "-m", "4", site.url("/a.txt")])
            defer { load.kill() }
            // It connects again. A request that it has put on a connection that ends, and not begun, it must be told to repeat.
            let client = try ChildProcess(
                "curl",
                [
                    "-sSk", "--retry", "3", "--retry-all-errors", "--http2", "-Z", "--parallel-max", "16", "-o",
                    "/dev/null", "-w", "%{http_code} %{http_version}\n",
                ]
                    + [site.url("/a.txt?[1-3000]")])
            defer { client.kill() }
            for _ in 0..<2 {
                try site.pool.succeed("reload")
                try binary.replace()
                try site.pool.succeed("upgrade")
            }
            try load.waitForEnd()
            let counts = try H2Load(load.output)
            #expect(counts.started > 0 && counts.started < 100_000)
            #expect(counts.done == counts.started, "\(load.output)")
            #expect(try client.waitForEnd(within: .seconds(60)) == .exited(0), "\(client.errors)")
            #expect(client.output.split(separator: "\n") == Array(repeating: "200 2", count: 3000))
            try Self.expectAllServed(site, counts.succeeded + 3000)
        }

        @Test("kill -9 of workers fails the requests in flight in them, and no other")
        func killed() throws {
            let site = try HTTPSite(workers: 4)
            defer { site.kill() }
            let load = try ChildProcess("wrk", ["-t1", "-c16", "-d6s", site.url("/a.txt")])
            defer { load.kill() }
            try wait(for: "connections") { try site.pool.status().pool.workers.reduce(0) { $0 + $1.live } >= 16 }
            for victim in site.pool.workers.prefix(3) {
                kill(victim, SIGKILL)
                try site.pool.settle()
            }
            #expect(load.poll() == nil, "the load outlasts the kills")
            #expect(try load.waitForEnd() == .exited(0))
            let lost = Self.connectionsLost(site)
            #expect(lost > 0)
            // Connect, read, write, timeout.
            let errors = Self.socketErrors(load.output)
            #expect(errors.isEmpty || errors[0] == 0 && errors[3] == 0, "\(load.output)")
            #expect(errors.reduce(0, +) <= lost, "\(load.output)")
            #expect(!load.output.contains("Non-2xx"), "\(load.output)")
        }

        @Test("HTTP/2: kill -9 of a worker fails the requests in flight in it; its neighbours' are all answered")
        func killedSecure() throws {
            let site = try HTTPSite(certificate: "localhost", workers: 4)
            defer { site.kill() }
            let (count, connections, streams) = (8000, 8, 4)
            let load = try ChildProcess(
                "h2load", ["-n", "\(count)", "-c", "\(connections)", "-m", "\(streams)", site.url("/a.txt")])
            defer { load.kill() }
            try wait(for: "connections") {
                try site.pool.status().pool.workers.reduce(0) { $0 + $1.live } >= connections
            }
            kill(site.pool.workers[0], SIGKILL)
            try site.pool.settle()
            try load.waitForEnd()
            let counts = try H2Load(load.output)
            let lost = Self.connectionsLost(site)
            #expect(lost > 0 && lost < connections)
            #expect(counts.started - counts.succeeded <= lost * streams, "\(load.output)")
            // Each has its share, which a dead one leaves undone: h2load does not connect again.
            #expect(counts.succeeded >= (connections - lost) * (count / connections), "\(load.output)")
        }

        /// As the log tells of workers that died.
        private static func connectionsLost(_ site: HTTPSite) -> Int {
            site.pool.ringmaster.process.errors.split(separator: "\n").filter { $0.contains(": worker died") }
                .flatMap { $0.split(separator: " ") }.filter { $0.hasPrefix("lost=") }
                .reduce(0) { $0 + (Int($1.dropFirst(5)) ?? 0) }
        }
    }
}
