import ArgumentParser
import Logging
import Services
import Testing
import Transport

@testable import Ringmaster
@testable import ringmaster

@Suite("options")
struct OptionTests {
    private func message(_ arguments: [String]) throws -> String {
        do {
            switch try Root.parseAsRoot(arguments) {
            case let echo as EchoCommand:
                _ = try Plan(echo.listen, echo.common, echo.options)
            case let http as HTTPCommand:
                _ = try Plan(http.listen, http.common, http.options)
            case let proxy as ProxyCommand:
                try proxy.options.checkComplete()
            default:
                break
            }
        } catch let error as CommandError {
            #expect(error.code == .badUsage)
            return error.message
        } catch {
            return ParserMessage.oneLine(Root.message(for: error))
        }
        Issue.record("\(arguments) is accepted")
        return ""
    }

    private static let echo = ["echo", "--listen", "127.0.0.1:0"]
    private static let proxy = ["proxy", "--upstream", "127.0.0.1:1"]

    @Test(
        "a value out of range is refused with the option's name and what to write",
        arguments: [
            (["echo"], ["--listen is missing", "--listen 127.0.0.1:7000"]),
            (["echo", "--listen", "7000"], ["--listen", "'7000'", "write HOST:PORT"]),
            (["echo", "--listen", "127.0.0.1:70000"], ["--listen", "'70000'", "from 1 to 65535"]),
            (
                ["echo"] + Array(repeating: ["--listen", "127.0.0.1:0"], count: 257).flatMap { $0 },
                ["--listen is given 257 times", "256"]
            ),
            (echo + ["--max-connections", "0"], ["--max-connections 0", "from 1 to 16000000"]),
            (echo + ["--max-connections", "16000001"], ["--max-connections 16000001", "from 1 to 16000000"]),
            (echo + ["--max-connections", "many"], ["--max-connections", "many"]),
            (echo + ["--backlog", "0"], ["--backlog 0", "from 1 to 65535"]),
            (echo + ["--backlog", "65536"], ["--backlog 65536", "from 1 to 65535"]),
            (echo + ["--workers", "0"], ["--workers <N|auto>", "0"]),
            (echo + ["--workers", "1025"], ["--workers <N|auto>", "1025"]),
            (echo + ["--grace", "-1"], ["--grace <SECONDS>", "'-1'"]),
            (echo + ["--workers", "-1"], ["--workers <N|auto>", "'-1'"]),
            (echo + ["--backlog", "-1"], ["--backlog -1", "from 1 to 65535"]),
            (echo + ["--max-connections", "-1"], ["--max-connections -1", "from 1 to 16000000"]),
            (proxy + ["--connect-timeout", "-1"], ["--connect-timeout <SECONDS>", "'-1'"]),
            (echo + ["--grace", "31536001"], ["--grace <SECONDS>", "31536001"]),
            (echo + ["--grace", "nan"], ["--grace <SECONDS>", "nan"]),
            (echo + ["--balance", "fair"], ["--balance", "fair", "least", "round-robin", "source-hash"]),
            (echo + ["--transport", "kqueue"], ["--transport", "kqueue", "auto", "io_uring", "epoll"]),
            (echo + ["--log-level", "loud"], ["--log-level", "loud", "trace", "debug", "info", "warning", "error"]),
            (echo + ["--log-format", "xml"], ["--log-format", "xml", "text", "json"]),
            (["proxy"], ["--upstream is missing", "--upstream 127.0.0.1:6379"]),
            (["proxy", "--upstream", "10.0.0.7"], ["--upstream", "'10.0.0.7'", "write HOST:PORT"]),
            (["proxy", "--upstream", "redis:0"], ["--upstream", "port 0", "from 1 to 65535"]),
            (
                ["proxy"] + Array(repeating: ["--upstream", "127.0.0.1:1"], count: 1025).flatMap { $0 },
                ["--upstream is given 1025 times", "1024"]
            ),
            (proxy + ["--connect-timeout", "0"], ["--connect-timeout 0", "positive number of seconds"]),
            (proxy + ["--idle-timeout", "0"], ["--idle-timeout 0", "positive number of seconds"]),
            (proxy + ["--resolve-interval", "0.0001"], ["--resolve-interval 0", "positive number of seconds"]),
            (proxy + ["--upstream-policy", "best"], ["--upstream-policy", "round-robin", "least-connections"]),
            (proxy + ["--send-proxy", "3"], ["--send-proxy", "3", "v1", "v2"]),
        ])
    func refused(arguments: [String], parts: [String]) throws {
        let message = try message(arguments)
        for part in parts { #expect(message.contains(part)) }
        #expect(!message.contains("\n"), "one line")
    }

    @Test(
        "options of the supervisor that are out of range are refused alike",
        arguments: [
            (["--control", ""], ["--control", "1 to 107"]),
            (["--control", String(repeating: "a", count: 108)], ["--control", "aaaa", "1 to 107"]),
            (["--hang-timeout", "1"], ["--hang-timeout 1 ", "more than 1 second"]),
            (["--hang-timeout", "0.25"], ["--hang-timeout 0.25 "]),
            (["--recycle-age", "soon"], ["--recycle-age", "soon"]),
            (["--recycle-connections", "-1"], ["--recycle-connections -1", "from 0 to"]),
            (["--recycle-memory", "-1"], ["--recycle-memory -1", "from 0 to 16777216"]),
            (["--migration-rate", "-1"], ["--migration-rate -1", "from 0 to 1000000"]),
            (["--hang-timeout", "-1"], ["--hang-timeout <SECONDS>", "'-1'"]),
            (["--recycle-memory", "16777217"], ["--recycle-memory 16777217", "from 0 to 16777216"]),
            (["--migration-rate", "1000001"], ["--migration-rate 1000001", "from 0 to 1000000"]),
        ] as [([String], [String])])
    func refusedBySupervisor(arguments: [String], parts: [String]) throws {
        let message = try message(Self.echo + arguments)
        for part in parts { #expect(message.contains(part), "\(message)") }
    }

    @Test("the values at the ends of the ranges are accepted")
    func accepted() throws {
        for arguments in [
            ["--max-connections", "1"], ["--max-connections", "16000000"], ["--backlog", "1"], ["--backlog", "65535"],
            ["--workers", "1"], ["--workers", "1024"], ["--workers", "auto"], ["--grace", "0"],
            ["--grace", "31536000"], ["--hang-timeout", "0"], ["--hang-timeout", "1.001"],
            ["--control", String(repeating: "a", count: 107)], ["--recycle-connections", "\(Int.max)"],
            ["--recycle-memory", "16777216"], ["--migration-rate", "0"], ["--migration-rate", "1000000"],
        ] {
            let command = try #require(try Root.parseAsRoot(Self.echo + arguments) as? EchoCommand)
            #expect(try Plan(command.listen, command.common, command.options).listeners.count == 1)
        }
    }

    @Test("each option of the proxy reaches its configuration")
    func proxyConfiguration() throws {
        let arguments = [
            "proxy", "--upstream", "redis:6379", "--upstream", "[::1]:5", "--upstream-policy", "least-connections",
            "--connect-timeout", "1.5", "--upstream-rest", "0", "--idle-timeout", "60", "--accept-proxy",
            "--send-proxy", "v2", "--resolve-interval", "7",
        ]
        let command = try #require(try Root.parseAsRoot(arguments) as? ProxyCommand)
        let configuration = command.options.configuration
        #expect(
            configuration.upstreams
                == [.name(host: "redis", port: 6379), .address(.ipv6(high: 0, low: 1, port: 5, scope: 0))])
        #expect(configuration.policy == .leastConnections)
        #expect(configuration.connectTimeout == .milliseconds(1500))
        #expect(configuration.restDuration == .zero)
        #expect(configuration.idleTimeout == .seconds(60))
        #expect(configuration.acceptsProxyHeader)
        #expect(configuration.sendsProxyHeader == .v2)
        #expect(configuration.resolveInterval == .seconds(7))
    }

    @Test("what the help says is the default is what the service takes by itself")
    func proxyDefaults() throws {
        let command = try #require(try Root.parseAsRoot(Self.proxy) as? ProxyCommand)
        let parsed = command.options.configuration
        let plain = ProxyConfiguration(upstreams: parsed.upstreams)
        #expect(String(describing: parsed) == String(describing: plain))
    }

    @Test("the services need as many descriptors per connection as the limits reckon with")
    func descriptors() throws {
        let context = ServiceContext(logger: Logger(label: "test"))
        let proxy = try ProxyOptions.parse(["--upstream", "127.0.0.1:1"])
        for options in [try EchoOptions.parse([]), proxy] as [any ServiceOptions] {
            #expect(try options.makeService(context).descriptorsPerConnection == options.descriptorsPerConnection)
        }
    }

    @Test("the environment and a configuration file know each option of the proxy, by its kind")
    func proxyNames() {
        #expect(
            OptionName.declared(in: ProxyOptions.self) == [
                OptionName("upstream", .list), OptionName("upstream-policy"), OptionName("connect-timeout"),
                OptionName("upstream-rest"), OptionName("idle-timeout"), OptionName("accept-proxy", .flag),
                OptionName("send-proxy"), OptionName("resolve-interval"),
            ])
        #expect(OptionName.declared(in: EchoOptions.self).isEmpty)
    }

    @Test("the web server needs to be told nothing, and then listens on 127.0.0.1:8080 alone; what is said counts")
    func webServerDefaults() throws {
        for (arguments, address) in [([], "127.0.0.1:8080"), (["--listen", "127.0.0.1:0"], "127.0.0.1:0")] {
            let command = try #require(try Root.parseAsRoot(["http"] + arguments) as? HTTPCommand)
            let plan = try Plan(command.listen, command.common, command.options)
            #expect(plan.listeners.map { "\($0.address)" } == [address])
        }
        let command = try #require(try Root.parseAsRoot(["http"]) as? HTTPCommand)
        #expect(command.options.root == ".")
    }

    @Test(
        "options of the web server that are out of range, or miss another, are refused alike",
        arguments: [
            (["http", "--header-max", "0"], ["--header-max 0", "from 1 to 1024"]),
            (["http", "--body-max", "-1"], ["--body-max -1", "from 0 to"]),
            (["http", "--idle-timeout", "-1"], ["--idle-timeout <SECONDS>", "'-1'"]),
            (["http", "--header-timeout", "0"], ["--header-timeout 0", "positive number of seconds"]),
            (["http", "--tls-key", "k"], ["--tls-certificate is missing"]),
            (["http", "--tls-certificate", "c"], ["--tls-key is missing"]),
        ] as [([String], [String])])
    func refusedByWebServer(arguments: [String], parts: [String]) throws {
        let message = try message(arguments)
        for part in parts { #expect(message.contains(part), "\(message)") }
    }
}
