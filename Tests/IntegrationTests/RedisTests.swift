import Foundation
import Testing
import Transport

@testable import IntegrationTesting

/// A Redis server with a proxy of two workers in front of it.
private final class ProxiedRedis {
    /// The proxy's port, as the clients' option wants it.
    var port: String { "\(proxy.address.port!)" }
    private let redis: RedisServer
    private let proxy: Ringmaster

    init(overUnixSocket: Bool) throws {
        redis = try RedisServer()
        let upstream = overUnixSocket ? "unix:\(redis.socketPath)" : "127.0.0.1:\(redis.port)"
        do {
            proxy = try Ringmaster("proxy", "--listen", "127.0.0.1:0", "--upstream", upstream, "--workers", "2")
        } catch {
            redis.stop()
            throw error
        }
    }

    func stop() {
        proxy.kill()
        redis.stop()
    }
}

extension Integration {
    @Suite(.serialized, .needs("redis-server", "redis-cli", "redis-benchmark"))
    struct RedisTests {
        @Test("redis-cli works through the proxy, over TCP and over a Unix-domain socket", arguments: [false, true])
        func commands(overUnixSocket: Bool) throws {
            let redis = try ProxiedRedis(overUnixSocket: overUnixSocket)
            defer { redis.stop() }
            func answer(_ command: String...) throws -> String {
                try ChildProcess.succeed("redis-cli", ["-p", redis.port] + command)
            }
            #expect(try answer("PING") == "PONG\n")
            #expect(try answer("SET", "key", "value") == "OK\n")
            #expect(try answer("GET", "key") == "value\n")
        }

        @Test("a value of 16 MiB comes back through the proxy as it went in")
        func bigValue() throws {
            let redis = try ProxiedRedis(overUnixSocket: false)
            defer { redis.stop() }
            let directory = try TemporaryDirectory()
            // Hexadecimal digits, so that the text that redis-cli prints is the value.
            let digits = Array("0123456789abcdef".utf8)
            let block = Integration.randomBytes[..<(512 << 10)].flatMap {
                [digits[Int($0 >> 4)], digits[Int($0 & 15)]]
            }
            let value = Data((0..<16).flatMap { _ in block })
            try value.write(to: URL(filePath: directory.path("value")))
            let stored = try ChildProcess.succeed(
                "redis-cli", ["-p", redis.port, "-x", "SET", "big"], input: directory.path("value"))
            #expect(stored == "OK\n")
            let answer = try ChildProcess.succeed("redis-cli", ["-p", redis.port, "--raw", "GET", "big"])
            let isSame = Data(answer.utf8) == value + Data("\n".utf8)
            #expect(isSame, "\(answer.utf8.count) bytes came back")
        }

        @Test("redis-benchmark runs through the proxy without an error", arguments: [false, true])
        func benchmark(overUnixSocket: Bool) throws {
            let redis = try ProxiedRedis(overUnixSocket: overUnixSocket)
            defer { redis.stop() }
            let tests = ["SET", "GET", "INCR", "LPUSH", "MSET (10 keys)"]
            let output = try ChildProcess.succeed(
                "redis-benchmark",
                ["-p", redis.port, "-q", "-n", "20000", "-c", "50", "-P", "4", "-t", "set,get,incr,lpush,mset"],
                within: .seconds(120))
            for test in tests { #expect(output.contains("\(test): "), "\(output)") }
            #expect(output.ranges(of: "requests per second").count >= tests.count)
            #expect(!output.lowercased().contains("error"), "\(output)")
        }
    }
}
