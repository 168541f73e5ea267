import ArgumentParser
import Logging
import Testing
import Transport

@testable import Ringmaster

@Suite("programs and applications")
struct ApplicationTests {
    private func help(_ arguments: [String]) -> String {
        let root = SampleApplication.root(arguments)
        do {
            var command = try root.parseAsRoot(arguments)
            try command.run()
            return ""
        } catch {
            return root.fullMessage(for: error, columns: 400)
        }
    }

    @Test("an application's help says its own name, its options, its commands, and no other program's name")
    func help() {
        let text = help(["--help"])
        for part in [
            "USAGE: sample-application <options>", "It is for tests.", "--greeting <greeting>", "--listen", "--workers",
            "sample-application status\n", "sample-application run\n", "SIGTERM",
        ] {
            #expect(text.contains(part), "\(part) in \(text)")
        }
        for arguments in [["--help"], ["status", "--help"], ["run", "--help"], ["check", "--help"], ["help"]] {
            let text = help(arguments)
            #expect(!text.contains("ringmaster") && !text.contains("Ringmaster"), "\(text)")
        }
    }

    @Test("without a command an application serves, with one it does not, whatever options both have")
    func commands() throws {
        typealias Serve = ServeCommand<SampleApplication, SampleApplication>
        let arguments = ["--listen", "127.0.0.1:0", "--control", "/c", "--greeting", "hi"]
        let serve = try #require(try SampleApplication.root(arguments).parseAsRoot(arguments) as? Serve)
        #expect(serve.options.greeting == "hi" && serve.common.control == "/c")
        #expect(
            try Plan(serve.listen, serve.common, serve.options).listeners.map(\.service.kind) == ["sample-application"])
        let status = ["status", "--control", "/c"]
        let command = try SampleApplication.root(status).parseAsRoot(status) as? StatusCommand<SampleApplication>
        #expect(command?.control.control == "/c")
    }

    @Test(
        "arguments that make no sense end with 2",
        arguments: [[], ["--dance"], ["dance"], ["sample-application"], ["--listen", "7"], ["run"], ["status"]])
    func badUsage(arguments: [String]) {
        #expect(SampleApplication.run(arguments) == .badUsage)
    }

    @Test(
        "asking for help or the version is no mistake",
        arguments: [["--help"], ["help"], ["--version"], ["stop", "-h"]])
    func helpIsNoMistake(arguments: [String]) {
        #expect(SampleApplication.run(arguments) == .success)
    }

    @Test("a configuration file knows the program's services, and an application's is it")
    func services() throws {
        func plan(_ services: [any ServiceOptions.Type], _ service: String) throws -> Plan {
            let text = "listeners:\n- {listen: 127.0.0.1:1, service: \(service)}\n"
            return try PlanReader(name: "f.yaml", services: services).plan(Array(text.utf8))
        }
        let found = try plan(SampleApplication.services, "sample-application, greeting: good day").listeners[0].service
        #expect((found.options as? SampleApplication)?.greeting == "good day")
        #expect(found.kind == "sample-application")
        let unsaid = try PlanReader(name: "f.yaml", services: SampleApplication.services).plan(
            Array("listeners:\n- listen: 127.0.0.1:1\n".utf8))
        #expect(unsaid.listeners[0].service.kind == "sample-application")
        for (service, message) in [
            ("nothing", "f.yaml:2: service: there is no 'nothing': give plain or rich"),
            ("rich", "f.yaml:2: target is missing"), ("plain, target: a", "f.yaml:2: target does not belong here"),
            ("'rich', target: a, idle-timeout: 0", "f.yaml:2: idle-timeout: 0 makes no sense"),
        ] {
            let error = #expect(throws: CommandError.self) { try plan(SampleProgram.services, service) }
            #expect(error?.message.hasPrefix(message) == true, "\(error?.message ?? "")")
        }
    }

    @Test("a value that makes no sense is said with its line, though another that must be given is missing alone")
    func demanding() {
        func message(_ keys: String) -> String? {
            let text = "listeners:\n- listen: 127.0.0.1:1\n  \(keys)\n"
            return #expect(throws: CommandError.self) {
                try PlanReader(name: "f.yaml", services: [DemandingOptions.self]).plan(Array(text.utf8))
            }?.message
        }
        #expect(message("height: 1\n  depth: much")?.hasPrefix("f.yaml:4: The value 'much' is invalid") == true)
        #expect(message("height: 1")?.hasPrefix("f.yaml:2: Missing expected argument 'depth'") == true)
    }

    @Test("services are the same when the same is written, in whatever order, but for the order of a list")
    func sameness() throws {
        let options = try RichOptions.parse(["--target=a"])
        func service(_ arguments: String...) -> PlannedService { PlannedService(options, arguments: arguments) }
        #expect(service("--target=a", "--accept-proxy") == service("--accept-proxy", "--target=a"))
        #expect(service("--target=a", "--target=b") != service("--target=b", "--target=a"))
        #expect(service() != PlannedService(try PlainOptions.parse([])))
    }

    @Test("what is out of reach is said with its place, and a service that cannot be made with its reason")
    func failures() throws {
        func plan(_ target: String) throws -> Plan {
            let text = "listeners:\n- {listen: 127.0.0.1:1, service: rich, target: \(target)}\n"
            return try PlanReader(name: "f.yaml", services: SampleProgram.services).plan(Array(text.utf8))
        }
        let far = #expect(throws: CommandError.self) { try plan("far").prepared() }
        #expect(far?.message == "f.yaml:2: target: far is out of reach")
        #expect(throws: Never.self) { try plan("far").prepared(checkingReach: false) }
        #expect(try plan("near").prepared().descriptorsPerConnection == 3)
        let context = ServiceContext(logger: Logger(label: "test"), slot: 3)
        let broken = #expect(throws: CommandError.self) { try plan("broken").makeService([0], context: context) }
        #expect(broken?.code == .serviceFailed)
        #expect(broken?.message == "the service rich cannot be made: there is a hole in it")
    }

    @Test(
        "a process is called by as much of the program's name as leaves room for the worker's number",
        arguments: [
            ("ringmaster", ":w0", "ringmaster:w0"), ("line-server", ":w1023", "line-serv:w1023"),
            ("line-server-of-mine", "", "line-server-of-"), ("größenordnung", ":w1023", "größeno:w1023"),
        ])
    func titles(name: String, suffix: String, title: String) {
        #expect(Process.title(name, suffix) == title)
        #expect(title.utf8.count <= 15)
    }

    @Test("a message of several lines becomes one, and keeps the dashes it begins with")
    func oneLine() {
        #expect(ParserMessage.oneLine("--grace is odd:\n  - a\n  - b\n") == "--grace is odd: a, b")
        #expect(ParserMessage.oneLine("") == "the arguments make no sense")
    }
}
