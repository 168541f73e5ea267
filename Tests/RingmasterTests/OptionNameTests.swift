import ArgumentParser
import Testing

@testable import Ringmaster

@Suite("names of options")
struct OptionNameTests {
    /// A value of each option that is not its default.
    private static let samples = [
        "listen": "127.0.0.1:7000,[::1]:7001", "workers": "3", "balance": "round-robin", "transport": "epoll",
        "max-connections": "77", "backlog": "99", "grace": "2.5", "log-level": "trace", "log-format": "json",
        "target": "a, b", "idle-timeout": "60", "accept-proxy": "true", "control": "/run/control", "hang-timeout": "2",
        "recycle-age": "60", "recycle-connections": "9", "recycle-memory": "8", "migration-rate": "5",
        "config": "/etc/sample.yaml", "timeout": "2.5", "json": "yes", "fast": "1", "greeting": "good day",
    ]

    private static func variable(_ option: String) -> String {
        "RINGMASTER_" + String(option.uppercased().map { $0 == "-" ? "_" : $0 })
    }

    /// A parsed command with all its values.
    private func parsed<Program: RingmasterProgram>(_ program: Program.Type, _ arguments: [String]) throws -> String {
        var text = ""
        dump(try Program.root(arguments).parseAsRoot(arguments), to: &text)
        return text
    }

    private func check<Program: RingmasterProgram>(_ program: Program.Type, _ command: [String]) throws {
        let declared = try OptionDump.options(of: command, in: program)
        #expect(Program.options(command).map(\.name) == declared.map(\.name))
        let unset = try parsed(program, command)
        for option in declared {
            let sample = try #require(Self.samples[option.name], "--\(option.name) has no sample here")
            let arguments =
                switch (option.kind, option.isRepeating) {
                case ("flag", _): ["--\(option.name)"]
                case (_, true):
                    sample.split(separator: ",").flatMap { ["--\(option.name)", "\($0.drop { $0 == " " })"] }
                case (_, false): ["--\(option.name)", sample]
                }
            let byOption = try parsed(program, command + arguments)
            let given = try EnvironmentArguments.adding(
                to: command, options: Program.options(command), from: [(Self.variable(option.name), sample)])
            #expect(try parsed(program, given) == byOption, "\(given)")
            #expect(byOption != unset, "the sample of --\(option.name) is its default")
        }
    }

    @Test(
        "each option that the parser declares can be given by its variable",
        arguments: [
            ["plain"], ["rich"], ["run"], ["check"], ["status"], ["reload"], ["upgrade"], ["scale", "2"],
            ["drain", "0"], ["stop"],
        ])
    func everyOption(command: [String]) throws {
        try check(SampleProgram.self, command)
    }

    @Test("so can an application's own", arguments: [[], ["status"], ["check"]])
    func everyOptionOfApplication(command: [String]) throws {
        try check(SampleApplication.self, command)
    }

    private struct Names: ParsableArguments {
        @Option var maxConnections = 1
        @Option var useTLSKey: [Int] = []
        @Flag var sendHTTP2 = false
        @Argument var file = ""
    }

    @Test("a property's name is an option's as the parser makes it; arguments without a name have none")
    func dashes() {
        #expect(
            OptionName.declared(in: Names.self) == [
                OptionName("max-connections"), OptionName("use-tls-key", .list), OptionName("send-http2", .flag),
            ])
        let help = Names.helpMessage()
        for name in OptionName.declared(in: Names.self) { #expect(help.contains("--\(name.name)"), "\(help)") }
    }
}
