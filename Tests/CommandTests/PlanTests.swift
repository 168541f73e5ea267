import Foundation
import Handoff
import Logging
import Services
import Supervisor
import Testing
import Transport
import Worker

@testable import Ringmaster
@testable import ringmaster

@Suite("plans")
struct PlanTests {
    private func plan(_ text: String) throws -> Plan { try PlanReader(name: "f.yaml").plan(Array(text.utf8)) }

    private static let two = """
        workers: 2
        listeners:
          - {listen: 127.0.0.1:7000, service: echo}
          - {listen: [127.0.0.1:7001, 127.0.0.1:7002], service: proxy, upstream: 127.0.0.1:1}
        """

    @Test("a plan gives the supervisor what its options say")
    func prepared() throws {
        let plan = try plan(
            """
            hang-timeout: 5
            recycle-age: 60
            recycle-connections: 7
            recycle-memory: 3
            migration-rate: 11
            max-connections: 10
            balance: round-robin
            backlog: 9
            """ + "\n" + Self.two)
        let prepared = try plan.prepared()
        let configuration = prepared.configuration
        #expect(configuration.workerCount == 2 && configuration.connectionsMax == 10)
        #expect(configuration.balance == .roundRobin && configuration.grace == .seconds(9))
        #expect(configuration.hangTimeout == .seconds(5))
        #expect(
            configuration.recycle
                == RecyclePolicy(ageMax: .seconds(60), connectionsMax: 7, memoryMax: 3 * 1024 * 1024))
        #expect(configuration.migrationsPerSecond == 11)
        #expect(
            prepared.listeners == [
                ListenerPlan(address: .ipv4(0x7f00_0001, port: 7000), kind: "echo", backlog: 9),
                ListenerPlan(address: .ipv4(0x7f00_0001, port: 7001), kind: "proxy", backlog: 9),
                ListenerPlan(address: .ipv4(0x7f00_0001, port: 7002), kind: "proxy", backlog: 9),
            ])
        #expect(prepared.descriptorsPerConnection == 2 && prepared.text == plan.source)
    }

    @Test("what nobody asks for is off, or as the supervisor has it by itself")
    func defaults() throws {
        let configuration = try plan("workers: 1\nmax-connections: 1\n" + Self.two.dropFirst(11)).prepared()
            .configuration
        let plain = SupervisorConfiguration(workerCount: 1, connectionsMax: 1, seed: 0)
        #expect(configuration.hangTimeout == plain.hangTimeout && configuration.recycle == plain.recycle)
        #expect(configuration.migrationsPerSecond == plain.migrationsPerSecond && configuration.grace == plain.grace)
        #expect(try plan("hang-timeout: 0\n" + Self.two).prepared().configuration.hangTimeout == nil)
    }

    @Test("an upstream that nobody can look up is refused with its line")
    func unresolvable() throws {
        let plan = try plan(
            "listeners:\n- listen: 127.0.0.1:1\n  service: proxy\n  upstream:\n  - 127.0.0.1:1\n"
                + "  - no-such-host.invalid:80\n")
        let error = #expect(throws: CommandError.self) { try plan.prepared() }
        #expect(error?.code == .badUsage)
        #expect(error?.message.hasPrefix("f.yaml:6: upstream: no-such-host.invalid:80: cannot resolve") == true)
    }

    @Test(
        "what the machine does not allow is refused with the line of the option that asks for it, as the file names it")
    func tooManyConnections() throws {
        let plan = try plan("workers: 1\nmax-connections: 15999999\n" + Self.two.dropFirst(11))
        let error = #expect(throws: CommandError.self) { try plan.prepared() }
        #expect(error?.code == .limitTooLow)
        #expect(error?.message.hasPrefix("f.yaml:2: max-connections: 15999999 with 1 worker needs ") == true)
        #expect(error?.message.hasSuffix("or lower max-connections") == true, "\(error?.message ?? "")")
    }

    @Test(
        "a web server's directory that is not there is refused with its line, or the listener's when it is the default")
    func missingRoot() throws {
        let plan = try plan("listeners:\n- listen: 127.0.0.1:1\n  service: http\n  root: /no/such\n")
        let error = #expect(throws: CommandError.self) { try plan.prepared() }
        #expect(error?.message.hasPrefix("f.yaml:4: root: /no/such: ") == true, "\(error?.message ?? "")")
    }

    @Test("an address that is given twice is refused as that; a free port may be asked for as often as wanted")
    func sameAddress() throws {
        func prepare(_ addresses: [String]) throws -> Int {
            let arguments = addresses.flatMap { ["--listen", $0] } + ["--workers", "1", "--max-connections", "1"]
            let command = try #require(try Root.parseAsRoot(["echo"] + arguments) as? EchoCommand)
            return try Plan(command.listen, command.common, command.options).prepared().listeners.count
        }
        let twice = #expect(throws: CommandError.self) { try prepare(["127.0.0.1:7000", "[::1]:1", "127.0.0.1:7000"]) }
        #expect(twice?.code == .badUsage)
        #expect(twice?.message == "--listen 127.0.0.1:7000 is given twice: leave out one of the two")
        let name = #expect(throws: CommandError.self) { try prepare(["127.0.0.1:7000", "localhost:7000"]) }
        #expect(name?.message.contains("--listen localhost:7000 are the same address") == true)
        #expect(try prepare(["127.0.0.1:0", "127.0.0.1:0"]) == 2)
    }

    @Test("listeners with equal options share a service, others have their own, by the supervisor's numbers")
    func services() throws {
        let plan = try plan(Self.two)
        #expect(
            try plan.makeService([5, 9, 3], context: ServiceContext(logger: Logger(label: "test"))) is ListenerServices)
        #expect(throws: CommandError.self) {
            try plan.makeService([5, 9], context: ServiceContext(logger: Logger(label: "test")))
        }
        let proxies = try self.plan(
            "listeners:\n- {listen: [127.0.0.1:1, 127.0.0.1:2], service: proxy, upstream: 127.0.0.1:1}\n")
        #expect(
            try proxies.makeService([0, 1], context: ServiceContext(logger: Logger(label: "test"))) is ProxyService)
    }

    @Test(
        "what a reload cannot change is named with both values",
        arguments: [
            ("transport: epoll\n", "", ["transport", "from epoll to auto"]),
            ("", "control: /a\n", ["control", "from (none) to /a"]),
            ("log-format: json\n", "log-format: text\n", ["log-format", "from json to text"]),
            ("backlog: 5\n", "backlog: 6\n", ["backlog of 127.0.0.1:7000", "from 5 to 6"]),
        ])
    func obstacles(old: String, new: String, parts: [String]) throws {
        let obstacle = try #require(try plan(new + Self.two).reloadObstacle(from: plan(old + Self.two)))
        for part in parts { #expect(obstacle.contains(part), "\(obstacle)") }
    }

    @Test("what a reload can change is no obstacle, a backlog of new addresses included")
    func changeable() throws {
        let other = "backlog: 5\nworkers: 7\nlog-level: debug\nlisteners:\n- {listen: 127.0.0.1:8000, service: echo}\n"
        #expect(try plan(other).reloadObstacle(from: plan(Self.two)) == nil)
        let turned = Self.two.replacing("7000, service: echo", with: "7000, service: proxy, upstream: 127.0.0.1:9")
        #expect(try plan(turned).reloadObstacle(from: plan(Self.two)) == nil)
    }

    @Test("a reload reads the file again: the new plan, or what is wrong with it, or what cannot change")
    func reload() throws {
        let file = FileManager.default.temporaryDirectory.appending(path: "ringmaster-\(UUID()).yaml")
        defer { try? FileManager.default.removeItem(at: file) }
        func write(_ text: String) throws { try Data(text.utf8).write(to: file) }
        let reload = Server<RingmasterCommand>(PlanReader.source(file.path, RingmasterCommand.services)).reloadSource
        let inForce = Array(Self.two.utf8)

        try write(Self.two.replacing("workers: 2", with: "workers: 3"))
        #expect(try reload(inForce).get().configuration.workerCount == 3)

        try write("workers: none\n" + Self.two.dropFirst(11))
        #expect(throws: PlanError.self) { try reload(inForce).get() }

        try write("transport: epoll\n" + Self.two)
        let error = #expect(throws: PlanError.self) { try reload(inForce).get() }
        #expect(error?.sentence.contains("transport") == true && error?.exitCode == .badUsage)
        // A text that this version does not understand forbids nothing.
        #expect(throws: Never.self) { try reload(Array("former: option\n".utf8)).get() }

        try FileManager.default.removeItem(at: file)
        #expect(throws: PlanError.self) { try reload(inForce).get() }
    }

    @Test("a reload of what the command line says makes the same plan again")
    func reloadWithoutFile() throws {
        let command = try #require(
            try Root.parseAsRoot(["echo", "--listen", "127.0.0.1:7000", "--workers", "2"]) as? EchoCommand)
        let plan = try Plan(command.listen, command.common, command.options)
        let reloaded = try Server<RingmasterCommand> { _ in plan }.reloadSource([]).get()
        #expect(reloaded.listeners.map(\.kind) == ["echo"] && reloaded.text.isEmpty)
        #expect(reloaded.configuration.workerCount == 2)
    }
}
