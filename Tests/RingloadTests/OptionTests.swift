import ArgumentParser
import Testing
import Transport

@testable import ringload

@Suite("command line")
struct OptionTests {
    private static let target = "127.0.0.1:7000"

    private func message(_ arguments: [String]) -> String {
        do {
            switch try Ringload.parseAsRoot(arguments) {
            case let command as ClosedCommand: _ = try command.plan()
            case let command as OpenCommand: _ = try command.plan()
            case let command as ChurnCommand: _ = try command.plan()
            case let command as IdleCommand: _ = try command.plan()
            case let command as BulkCommand: _ = try command.plan()
            default: break
            }
        } catch let error as LoadError {
            #expect(error.kind == .usage)
            return error.message
        } catch {
            #expect(Ringload.exitCode(for: error) == .validationFailure && ExitCode.validationFailure.rawValue == 64)
            return Ringload.fullMessage(for: error)
        }
        Issue.record("\(arguments) is accepted")
        return ""
    }

    @Test(
        "a value out of range is refused with the option's name and what to write",
        arguments: [
            (["closed"], ["address:port"]),
            (["closed", "127.0.0.1"], ["port is missing"]),
            (["closed", "127.0.0.1:0"], ["port 0"]),
            (["closed", "unix:x"], ["unix:x"]),
            (["closed", target, "--connections", "0"], ["--connections 0", "from 1 to 100000"]),
            (["closed", target, "--connections", "100001"], ["--connections 100001", "from 1 to 100000"]),
            (["closed", target, "--size", "0"], ["--size 0", "from 1 to 16777216"]),
            (["closed", target, "--depth", "0"], ["--depth 0", "from 1 to 1024"]),
            (["closed", target, "--depth", "1024", "--size", "65537"], ["64 MiB", "--depth"]),
            (["closed", target, "--seconds", "0"], ["--seconds 0", "from 0.01"]),
            (["closed", target, "--seconds", "nan"], ["--seconds nan", "from 0.01"]),
            (["closed", target, "--warmup", "-1"], ["--warmup -1", "from 0.0 to 86400"]),
            (["closed", target, "--connections", "-5"], ["--connections -5", "from 1 to 100000"]),
            (["closed", target, "--connections", "x"], ["'x'", "Connections at once, 1 to 100000"]),
            (["closed", target, "--connections"], ["Missing value", "Connections at once, 1 to 100000"]),
            (["closed", target, "--size", "-64"], ["--size -64", "from 1 to 16777216"]),
            (["closed", target, "--depth", "-1"], ["--depth -1", "from 1 to 1024"]),
            (["closed", target, "--seconds", "-1"], ["--seconds -1", "from 0.01"]),
            (["closed", target, "--progress", "-1"], ["--progress -1", "from 0.1"]),
            (["closed", target, "--connect-at-once", "-1"], ["--connect-at-once -1", "from 1 to 4096"]),
            (["closed", target, "--progress", "0"], ["--progress 0", "from 0.1"]),
            (["closed", target, "--connect-at-once", "5000"], ["--connect-at-once 5000", "from 1 to 4096"]),
            (["closed", target, "--loop", "kqueue"], ["--loop", "kqueue"]),
            (["closed", target, "--source", "127.0.0.9-127.0.0.1"], ["--source", "127.0.0.2-127.0.0.9"]),
            (["closed", target, "--source", "::1"], ["another address family"]),
            (["open", target], ["--rate"]),
            (["open", target, "--rate", "0"], ["--rate 0", "from 0.1"]),
            (["open", target, "--rate", "-2"], ["--rate -2", "from 0.1"]),
            (["open", target, "--rate", "5", "--backlog", "-1"], ["--backlog -1", "from 1 to 65536"]),
            (["open", target, "--rate", "5", "--backlog", "0"], ["--backlog 0", "from 1 to 65536"]),
            (["churn", target, "--messages", "-1"], ["--messages -1", "from 0 to 1000000"]),
            (["churn", target, "--total", "-1"], ["--total -1", "from 1 to 1000000000"]),
            (["churn", target, "--seconds", "-1"], ["--seconds -1", "from 0.01"]),
            (["churn", target, "--total", "0"], ["--total 0", "from 1 to 1000000000"]),
            (["idle", target, "--connections", "5", "--active", "6"], ["--active 6", "from 0 to 5"]),
            (["idle", target, "--active", "-1"], ["--active -1", "from 0 to 1"]),
            (["idle", target, "--connections", "-5"], ["--connections -5", "from 1 to 100000"]),
            (["idle", target, "--interval", "-1"], ["--interval -1", "from 0.1"]),
            (["idle", target, "--interval", "0"], ["--interval 0", "from 0.1"]),
            (["bulk", target, "--direction", "up"], ["--direction", "up"]),
            (["bulk", target, "--request", "x"], ["--request goes with --direction receive"]),
        ])
    func refused(arguments: [String], parts: [String]) {
        // Without a ring, where that is denied: here the values count.
        let message = message(arguments)
        for part in parts { #expect(message.contains(part), "\(message)") }
    }

    @Test("the help of every option with a value gives its range or its values, and its default")
    func help() throws {
        for command in Ringload.configuration.subcommands {
            let text = Ringload.helpMessage(for: command, columns: 1000)
                // A long name has its help on the next line.
                .replacing(/>\n +(?=[A-Z])/, with: "> ")
            let lines = text.split(separator: "\n").map { $0.drop { $0 == " " } }.filter {
                $0.hasPrefix("--") && $0.contains("<")
            }
            #expect(lines.count >= 8, "\(text)")
            for line in lines where !line.hasPrefix("--json") && !line.hasPrefix("--request") {
                let hasRange = line.contains(" to ") || line.contains("values:") || line.contains(" at most")
                #expect(hasRange && (line.contains("default: ") || line.hasPrefix("--rate")), "\(line)")
            }
        }
    }

    @Test("what is not said has its default")
    func defaults() throws {
        let closed = try plan("closed", Self.target, "--loop", "epoll")
        #expect(closed.kind == .closed(depth: 1) && closed.connections == 1 && closed.messageSize == 64)
        #expect(closed.seconds == 10 && closed.warmupSeconds == 0 && closed.verifies && closed.connectAtOnce == 256)
        #expect(closed.sources == nil && closed.progressSeconds == nil && closed.drainSeconds == 5)
        #expect(closed.transport.transport == .epoll && closed.target.description == Self.target)
        #expect(try plan("churn", Self.target, "--loop", "epoll").seconds == 10)
        #expect(try plan("churn", Self.target, "--loop", "epoll", "--total", "5").seconds == nil)
        #expect(try plan("closed", "[::1]:7000", "--loop", "epoll").target.family == 10)
        #expect(try plan("closed", "localhost:7000", "--loop", "epoll").target.port == 7000)
    }

    @Test("what is said is done")
    func given() throws {
        let idle = try plan(
            "idle", Self.target, "--connections", "60000", "--active", "10", "--interval", "500", "--loop", "epoll")
        #expect(idle.kind == .open(rate: 20, backlog: 16) && idle.active == 10 && idle.sources?.count == 15)
        let receive = try plan(
            "bulk", Self.target, "--direction", "receive", "--request", "GET / HTTP/1.0\\r\\n\\r\\n", "--loop", "epoll")
        #expect(receive.kind == .bulk(.receive, request: Array("GET / HTTP/1.0\r\n\r\n".utf8)) && !receive.verifies)
        let line = try plan("bulk", Self.target, "--direction", "receive", "--request", "go", "--loop", "epoll")
        #expect(line.kind == .bulk(.receive, request: Array("go\r\n".utf8)))
        #expect(try !plan("closed", Self.target, "--no-verify", "--loop", "epoll").verifies)
    }
}
