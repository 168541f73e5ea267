import Testing

@testable import Ringmaster

@Suite("options from the environment")
struct EnvironmentArgumentsTests {
    private func adding(
        _ arguments: [String], _ environment: [(name: String, value: String)]
    ) throws(CommandError) -> [String] {
        try EnvironmentArguments.adding(
            to: arguments, options: SampleProgram.options(arguments), from: environment)
    }

    @Test("the command line wins, in both ways of writing a value", arguments: [["--workers", "2"], ["--workers=2"]])
    func commandLineWins(given: [String]) throws {
        let arguments = ["plain"] + given
        #expect(try adding(arguments, [("RINGMASTER_WORKERS", "3")]) == arguments)
    }

    @Test(
        "a flag is set by yes and left by no, whatever the case", arguments: ["1", "true", "YES", "on"],
        ["0", "False", "no", "off"])
    func flags(yes: String, no: String) throws {
        let variable = "RINGMASTER_ACCEPT_PROXY"
        #expect(try adding(["rich"], [(variable, yes)]) == ["rich", "--accept-proxy"])
        #expect(try adding(["rich"], [(variable, no)]) == ["rich"])
    }

    @Test("a flag's value that is neither is refused under the variable's name, with what to write")
    func flagNonsense() throws {
        let error = #expect(throws: CommandError.self) {
            try adding(["rich"], [("RINGMASTER_ACCEPT_PROXY", "maybe")])
        }
        #expect(error?.code == .badUsage)
        #expect(
            error?.message
                == "RINGMASTER_ACCEPT_PROXY=maybe makes no sense: give yes or no, true or false, 1 or 0")
    }

    @Test(
        "variables that are empty, of another command, or of nobody say nothing",
        arguments: ["RINGMASTER_WORKERS=", "RINGMASTER_TARGET=a:1", "RINGMASTER_SERVICE_HOST=10.0.0.1", "WORKERS=3"])
    func others(variable: String) throws {
        let parts = variable.split(separator: "=", omittingEmptySubsequences: false)
        let environment = [(name: String(parts[0]), value: String(parts[1]))]
        #expect(try adding(["plain"], environment) == ["plain"])
        #expect(try adding([], environment) == [])
    }

    @Test("a list's items are trimmed, and empty ones left out")
    func lists() throws {
        let arguments = try adding(["plain"], [("RINGMASTER_LISTEN", " 127.0.0.1:1 ,,unix:/a b ")])
        #expect(arguments == ["plain", "--listen=127.0.0.1:1", "--listen=unix:/a b"])
    }

    @Test("the parser's message about a value names the variable that gave it, and no other")
    func explains() throws {
        let message = "The value 'many' is invalid for '--workers <N|auto>'"
        func explained(_ message: String, _ arguments: [String]) -> String {
            EnvironmentArguments.explain(message, arguments: arguments, options: SampleProgram.options(arguments))
        }
        let remedy = ": give a number from 1 to 1024, or auto"
        #expect(explained(message, ["plain"]) == message + ", which RINGMASTER_WORKERS gives" + remedy)
        #expect(explained(message, ["plain", "--workers", "many"]) == message + remedy)
        #expect(explained(message, ["plain", "--workers=many"]) == message + remedy)
        let balance = "The value 'x' is invalid for '--balance <MODE>'"
        #expect(explained(balance, ["plain", "--balance=x"]) == balance, "the parser has said what there is")
        #expect(explained("Unknown option '--x'", ["plain"]) == "Unknown option '--x'")
    }
}
