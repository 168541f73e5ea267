import Testing

@testable import ringmaster

@Suite("options from the environment")
struct EnvironmentArgumentsTests {
    /// A value of each option that is not its default.
    private static let samples = [
        "listen": "127.0.0.1:7000,[::1]:7001", "workers": "3", "balance": "round-robin", "transport": "epoll",
        "max-connections": "77",
        "backlog": "99", "grace": "2.5", "log-level": "trace", "log-format": "json",
        "upstream": "127.0.0.1:6379, unix:/run/redis.sock", "upstream-policy": "least-connections",
        "connect-timeout": "1.5", "upstream-rest": "4", "idle-timeout": "60", "accept-proxy": "true",
        "send-proxy": "v2", "resolve-interval": "7", "control": "/run/control", "hang-timeout": "2",
        "recycle-age": "60",
        "recycle-connections": "9", "recycle-memory": "8", "migration-rate": "5", "config": "/etc/ringmaster.yaml",
    ]

    private static func variable(_ option: String) -> String {
        "RINGMASTER_" + String(option.uppercased().map { $0 == "-" ? "_" : $0 })
    }

    /// A parsed command with all its values.
    private func parsed(_ arguments: [String]) throws -> String {
        var text = ""
        dump(try Ringmaster.parseAsRoot(arguments), to: &text)
        return text
    }

    @Test(
        "each option that the parser declares can be given by its variable",
        arguments: ["echo", "proxy", "run", "check"])
    func everyOption(command: String) throws {
        let declared = try OptionDump.options(of: command)
        #expect(Set(declared.map(\.name)) == Set(EnvironmentArguments.names(of: command)))
        let unset = try parsed([command])
        for option in declared {
            let sample = try #require(Self.samples[option.name], "--\(option.name) has no sample here")
            let arguments =
                switch (option.kind, option.isRepeating) {
                case ("flag", _): ["--\(option.name)"]
                case (_, true):
                    sample.split(separator: ",").flatMap { ["--\(option.name)", "\($0.drop { $0 == " " })"] }
                case (_, false): ["--\(option.name)", sample]
                }
            let byOption = try parsed([command] + arguments)
            let given = try EnvironmentArguments.adding(
                to: [command], from: [(Self.variable(option.name), sample)])
            #expect(try parsed(given) == byOption, "\(given)")
            #expect(byOption != unset, "the sample of --\(option.name) is its default")
        }
    }

    @Test("the command line wins, in both ways of writing a value", arguments: [["--workers", "2"], ["--workers=2"]])
    func commandLineWins(given: [String]) throws {
        let arguments = ["echo"] + given
        #expect(
            try EnvironmentArguments.adding(to: arguments, from: [("RINGMASTER_WORKERS", "3")]) == arguments)
    }

    @Test(
        "a flag is set by yes and left by no, whatever the case", arguments: ["1", "true", "YES", "on"],
        ["0", "False", "no", "off"])
    func flags(yes: String, no: String) throws {
        let variable = "RINGMASTER_ACCEPT_PROXY"
        #expect(try EnvironmentArguments.adding(to: ["proxy"], from: [(variable, yes)]) == ["proxy", "--accept-proxy"])
        #expect(try EnvironmentArguments.adding(to: ["proxy"], from: [(variable, no)]) == ["proxy"])
    }

    @Test("a flag's value that is neither is refused under the variable's name, with what to write")
    func flagNonsense() throws {
        let error = #expect(throws: CommandError.self) {
            try EnvironmentArguments.adding(to: ["proxy"], from: [("RINGMASTER_ACCEPT_PROXY", "maybe")])
        }
        #expect(error?.code == .badUsage)
        #expect(
            error?.message
                == "RINGMASTER_ACCEPT_PROXY=maybe makes no sense: give yes or no, true or false, 1 or 0")
    }

    @Test(
        "variables that are empty, of another command, or of nobody say nothing",
        arguments: ["RINGMASTER_WORKERS=", "RINGMASTER_UPSTREAM=a:1", "RINGMASTER_SERVICE_HOST=10.0.0.1", "WORKERS=3"])
    func others(variable: String) throws {
        let parts = variable.split(separator: "=", omittingEmptySubsequences: false)
        let environment = [(name: String(parts[0]), value: String(parts[1]))]
        #expect(try EnvironmentArguments.adding(to: ["echo"], from: environment) == ["echo"])
        #expect(try EnvironmentArguments.adding(to: [], from: environment) == [])
    }

    @Test("a list's items are trimmed, and empty ones left out")
    func lists() throws {
        let arguments = try EnvironmentArguments.adding(
            to: ["echo"], from: [("RINGMASTER_LISTEN", " 127.0.0.1:1 ,,unix:/a b ")])
        #expect(arguments == ["echo", "--listen=127.0.0.1:1", "--listen=unix:/a b"])
    }

    @Test("the parser's message about a value names the variable that gave it, and no other")
    func explains() throws {
        let message = "The value 'many' is invalid for '--workers <N|auto>'"
        #expect(
            EnvironmentArguments.explain(message, arguments: ["echo"])
                == message + ", which RINGMASTER_WORKERS gives")
        #expect(EnvironmentArguments.explain(message, arguments: ["echo", "--workers", "many"]) == message)
        #expect(EnvironmentArguments.explain(message, arguments: ["echo", "--workers=many"]) == message)
        #expect(EnvironmentArguments.explain("Unknown option '--x'", arguments: ["echo"]) == "Unknown option '--x'")
    }
}
