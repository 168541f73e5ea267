import ArgumentParser
import Foundation

@testable import Ringmaster

/// The options that ArgumentParser knows of, as `--experimental-dump-help` tells them.
struct OptionDump {
    struct Option: Decodable, Sendable {
        struct Name: Decodable { var kind: String, name: String }
        var kind: String
        var isRepeating: Bool
        var names: [Name]?

        var name: String { names?.first { $0.kind == "long" }?.name ?? "" }
    }

    private struct Tool: Decodable { var command: Command }
    private struct Command: Decodable {
        var commandName: String
        var arguments: [Option]?
        var subcommands: [Command]?
    }

    /// The options of a command of a program, positional arguments and those that every ArgumentParser command has left out.
    static func options<Program: RingmasterProgram>(
        of arguments: [String], in program: Program.Type
    ) throws -> [Option] {
        let root = Program.root(arguments)
        var text = ""
        do {
            _ = try root.parseAsRoot(["--experimental-dump-help"])
        } catch {
            text = root.fullMessage(for: error)
        }
        let tool = try JSONDecoder().decode(Tool.self, from: Data(text.utf8)).command
        let found = tool.subcommands?.first { $0.commandName == arguments.first } ?? tool
        return (found.arguments ?? []).filter { $0.kind != "positional" && !["help", "version"].contains($0.name) }
    }
}
