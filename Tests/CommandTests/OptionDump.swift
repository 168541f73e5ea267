import ArgumentParser
import Foundation

@testable import ringmaster

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

    /// The options of each command, those that every ArgumentParser command has left out.
    static func options(of command: String) throws -> [Option] {
        var text = ""
        do {
            _ = try Ringmaster.parseAsRoot(["--experimental-dump-help"])
        } catch {
            text = Ringmaster.fullMessage(for: error)
        }
        let root = try JSONDecoder().decode(Tool.self, from: Data(text.utf8)).command
        let found = root.subcommands?.first { $0.commandName == command }
        return (found?.arguments ?? []).filter { !["help", "version"].contains($0.name) }
    }
}
