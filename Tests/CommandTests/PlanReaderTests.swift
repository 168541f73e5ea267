import Foundation
import Services
import Testing
import Transport

@testable import Ringmaster
@testable import ringmaster

private let echoListener = "listeners:\n  - listen: 127.0.0.1:7000\n    service: echo\n"

@Suite("configuration file")
struct PlanReaderTests {
    private func plan(_ text: String) throws -> Plan {
        try PlanReader(name: "f.yaml").plan(Array(text.utf8))
    }

    private func refusal(_ bytes: [UInt8]) -> String {
        do throws(CommandError) {
            _ = try PlanReader(name: "f.yaml").plan(bytes)
        } catch {
            #expect(error.code == .badUsage)
            #expect(!error.message.contains("\n"), "one line")
            return error.message
        }
        return "accepted"
    }

    private func refusal(_ text: String) -> String { refusal(Array(text.utf8)) }

    @Test("the example says what its comments say")
    func example() throws {
        let path = URL(filePath: #filePath).deletingLastPathComponent().appending(
            path: "../../Examples/ringmaster.yaml")
        let bytes = try ConfigurationFile.read(path.path)
        let plan = try PlanReader(name: "ringmaster.yaml").plan(bytes)
        #expect(plan.source == bytes)
        #expect(plan.options.workers == .automatic)
        #expect(plan.options.maxConnections == 10_000)
        #expect(plan.options.grace == Seconds(30))
        #expect(plan.options.control == "/run/ringmaster.sock")
        #expect(plan.options.recycleMemory == 512)
        #expect(
            plan.listeners.map { "\($0.address) \($0.service.kind)" } == [
                "0.0.0.0:6379 proxy", "127.0.0.1:5432 proxy", "[::1]:5432 proxy", "unix:/run/pg.sock proxy",
                "127.0.0.1:7000 echo",
            ])
        #expect(plan.listeners[1].service == plan.listeners[3].service)
        let redis = try #require(plan.listeners[0].service.options as? ProxyOptions).configuration
        let postgres = try #require(plan.listeners[1].service.options as? ProxyOptions).configuration
        #expect(redis.upstreams.map(\.description) == ["10.0.0.7:6379", "10.0.0.8:6379"])
        #expect(redis.policy == .leastConnections && redis.sendsProxyHeader == nil)
        #expect(postgres.upstreams.map(\.description) == ["unix:/run/postgresql/.s.PGSQL.5432"])
        #expect(postgres.sendsProxyHeader == .v2 && postgres.idleTimeout == .seconds(3600))
    }

    @Test("a file says the same as the command line with the same options")
    func sameAsCommandLine() throws {
        let values = [
            "workers": "3", "balance": "source-hash", "transport": "epoll", "max-connections": "77", "backlog": "99",
            "grace": "2.5", "log-level": "trace", "log-format": "json", "control": "/run/control", "hang-timeout": "2",
            "recycle-age": "60", "recycle-connections": "9", "recycle-memory": "8", "migration-rate": "5",
        ]
        #expect(
            Set(values.keys) == Set(OptionName.declared(in: CommonOptions.self).map(\.name)),
            "every option has a value here")
        let written = values.map { "\($0.key): \($0.value)\n" }.joined() + echoListener
        let arguments = values.map { "--\($0.key)=\($0.value)" }
        let command = try #require(
            try Root.parseAsRoot(["echo", "--listen", "127.0.0.1:7000"] + arguments) as? EchoCommand)
        let options = String(describing: try plan(written).options)
        #expect(options == String(describing: command.common))
        #expect(options != String(describing: try plan(echoListener).options))
    }

    @Test("a proxy in a file is what the command line makes of the same options")
    func sameProxy() throws {
        let text = """
            listeners:
              - listen: 127.0.0.1:7000
                service: proxy
                upstream: [redis:6379, '[::1]:5']
                upstream-policy: least-connections
                connect-timeout: 1.5
                upstream-rest: 0
                idle-timeout: 60
                accept-proxy: yes
                send-proxy: v2
                resolve-interval: 7
            """
        let options = try ProxyOptions.checked([
            "--upstream=redis:6379", "--upstream=[::1]:5", "--upstream-policy=least-connections",
            "--connect-timeout=1.5", "--upstream-rest=0", "--idle-timeout=60", "--accept-proxy", "--send-proxy=v2",
            "--resolve-interval=7",
        ])
        func configuration(_ text: String) throws -> ProxyConfiguration {
            try #require(try plan(text).listeners.first?.service.options as? ProxyOptions).configuration
        }
        #expect(try configuration(text) == options.configuration)
        #expect(
            try configuration(text.replacing("accept-proxy: yes", with: "accept-proxy: off")) != options.configuration)
    }

    @Test(
        "what is wrong is said with the line, the key and what to write",
        arguments: [
            ("", ["f.yaml:1:", "empty", "listeners is missing"]),
            ("# nothing\n", ["f.yaml:", "empty", "listeners is missing"]),
            ("workers: 2\n", ["f.yaml:1:", "listeners is missing", "listen and service"]),
            ("hello\n", ["f.yaml:1:", "a mapping", "a single value"]),
            ("- listen: 1\n", ["f.yaml:1:", "a mapping", "a list"]),
            (
                "grace: 1\nworkers: many\n" + echoListener,
                ["f.yaml:2:", "'many'", "for 'workers': give a number from 1 to 1024, or auto"]
            ),
            ("max-connections: 0\n" + echoListener, ["f.yaml:1:", "max-connections: 0", "from 1 to"]),
            ("\nhang-timeout: 0.5\n" + echoListener, ["f.yaml:2:", "hang-timeout: 0.5", "more than 1 second"]),
            ("balance: fair\n" + echoListener, ["f.yaml:1:", "fair", "round-robin"]),
            ("wrokers: 2\n" + echoListener, ["f.yaml:1:", "'wrokers'", "is workers meant?"]),
            ("log_level: info\n" + echoListener, ["f.yaml:1:", "is log-level meant?"]),
            ("wibble: 2\n" + echoListener, ["f.yaml:1:", "'wibble'", "listeners, workers, "]),
            ("workers: [2]\n" + echoListener, ["f.yaml:1:", "workers must be a single value", "a list"]),
            ("workers: {a: 2}\n" + echoListener, ["f.yaml:1:", "workers must be a single value", "a mapping"]),
            ("workers:\n" + echoListener, ["f.yaml:1:", "workers must be a single value", "nothing"]),
            ("workers: 1\n" + echoListener + "workers: 2\n", ["f.yaml:1:", "workers is given more than once"]),
            (echoListener + "    service: echo\n", ["f.yaml:3:", "service is given more than once"]),
            ("[a]: 1\n" + echoListener, ["f.yaml:1:", "a key must be a name", "a list"]),
            ("listen: 127.0.0.1:1\n" + echoListener, ["f.yaml:1:", "listen does not belong here", "listeners"]),
            (echoListener + "    workers: 2\n", ["f.yaml:4:", "workers does not belong here", "top of the file"]),
            (echoListener + "    upstream: a:1\n", ["f.yaml:4:", "upstream does not belong here", "service: proxy"]),
            (echoListener + "    acept: a:1\n", ["f.yaml:4:", "no key 'acept'", "listen, service"]),
            ("listeners: []\n", ["f.yaml:1:", "listeners must be a list", "empty"]),
            ("listeners: 5\n", ["f.yaml:1:", "listeners must be a list", "a single value"]),
            ("listeners:\n  - a\n", ["f.yaml:2:", "a listener must be a mapping"]),
            ("listeners:\n  - listen: 127.0.0.1:1\n", ["f.yaml:2:", "service is missing", "http or echo or proxy"]),
            ("listeners:\n  - service: ecko\n", ["f.yaml:2:", "'ecko'", "http or echo or proxy"]),
            ("listeners:\n  - service: [echo]\n", ["f.yaml:2:", "service must be", "a list"]),
            ("listeners:\n  - service: echo\n", ["f.yaml:2:", "listen is missing", "listen: 127.0.0.1:7000"]),
            (
                "listeners:\n  - listen: 127.0.0.1:1\n    service: proxy\n",
                ["f.yaml:2:", "upstream is missing", "upstream: 127.0.0.1:6379"]
            ),
            (
                "listeners:\n  - listen:\n      - 127.0.0.1:1\n      - '7'\n    service: echo\n",
                ["f.yaml:4:", "listen: bad address '7'", "HOST:PORT"]
            ),
            ("listeners:\n  - listen: [[a]]\n    service: echo\n", ["f.yaml:2:", "listen", "is a list"]),
            (
                "listeners:\n  - listen: localhost:1\n    service: echo\n",
                ["f.yaml:2:", "listen: localhost:1", "not looked up"]
            ),
            (
                echoListener + "  - listen: ['[::1]:1', 127.0.0.1:7000]\n    service: echo\n",
                ["f.yaml:4:", "listen: 127.0.0.1:7000", "line 2 already"]
            ),
            (
                "listeners:\n  - listen: 127.0.0.1:1\n    service: proxy\n    upstream: a:1\n    accept-proxy: maybe\n",
                ["f.yaml:5:", "accept-proxy: 'maybe'", "yes or no"]
            ),
            (
                "listeners:\n  - listen: 127.0.0.1:1\n    service: proxy\n    upstream: a:1\n    idle-timeout: 0\n",
                ["f.yaml:5:", "idle-timeout: 0", "positive"]
            ),
            ("listeners:\n\t- listen: a\n", ["f.yaml:2:", "no YAML", "not with tabs"]),
            ("listeners:\n  - listen: [::1]:7000\n", ["f.yaml:2:", "no YAML", "'[::1]:7000'"]),
            ("a: 'b\n", ["f.yaml:", "no YAML", "quoted scalar"]),
            (echoListener + "---\n" + echoListener, ["f.yaml:4:", "no YAML", "another document"]),
            ("workers: &x 2\ngrace: *x\n" + echoListener, ["f.yaml:1:", "anchors and aliases"]),
            ("workers: *x\n" + echoListener, ["f.yaml:1:", "no YAML", "undefined alias"]),
            ("log-level: \"in\\nfo\"\n" + echoListener, ["f.yaml:1:", "control character"]),
            ("log-level: \"\\0\"\n" + echoListener, ["f.yaml:1:", "control character"]),
            ("workers: \0\n", ["f.yaml:1:", "control characters are not allowed"]),
            ("a: " + String(repeating: "[", count: 500) + String(repeating: "]", count: 500), ["nested too deeply"]),
            ("a: " + String(repeating: "[", count: 100_000), ["f.yaml:1:", "no YAML", "nesting"]),
        ] as [(String, [String])])
    func refused(text: String, parts: [String]) {
        let message = refusal(text)
        for part in parts { #expect(message.contains(part), "\(message)") }
    }

    @Test("what is no UTF-8 is refused")
    func encoding() {
        #expect(refusal([0xff, 0xfe, 0x41]) == "f.yaml: it is not UTF-8 text")
    }

    @Test("aliases that stand for more than memory holds are refused before anybody counts them")
    func aliasBomb() {
        var text = "a0: &a0 [x, x]\n"
        for level in 1...60 { text += "a\(level): &a\(level) [*a\(level - 1), *a\(level - 1)]\n" }
        let message = refusal(text)
        #expect(message.hasPrefix("f.yaml:1: anchors and aliases"), "\(message)")
    }

    @Test("more listeners, and longer lists, than there may be are refused")
    func tooMany() {
        func listeners(_ count: Int) -> String {
            "listeners:\n" + (1...count).map { "  - {listen: 127.0.0.1:\($0), service: echo}\n" }.joined()
        }
        #expect(refusal(listeners(256)) == "accepted")
        #expect(refusal(listeners(257)) == "f.yaml:258: listen: 256 listeners are the most")
        let long = "[" + (1...1025).map { "a:\($0)" }.joined(separator: ", ") + "]"
        #expect(
            refusal("listeners:\n  - listen: 127.0.0.1:1\n    service: proxy\n    upstream: \(long)\n")
                == "f.yaml:4: upstream has 1025 values: 1024 are the most")
    }

    @Test("a file cut off anywhere is understood or refused in one line")
    func cutOff() throws {
        let path = URL(filePath: #filePath).deletingLastPathComponent().appending(
            path: "../../Examples/ringmaster.yaml")
        let bytes = try ConfigurationFile.read(path.path)
        // In each line's middle and at its end.
        for line in bytes.split(separator: UInt8(ascii: "\n")) where !line.isEmpty {
            for count in [line.startIndex + line.count / 2, line.endIndex] { _ = refusal(Array(bytes[..<count])) }
        }
    }
}
