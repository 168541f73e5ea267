import ArgumentParser

/// What the argument parser says, for a log or a terminal.
enum ParserMessage {
    /// A message without line breaks: the parser lists allowed values in lines of their own.
    static func oneLine(_ message: String) -> String {
        let lines = message.split(separator: "\n")
        guard let first = lines.first else { return "the arguments make no sense" }
        let items = lines.dropFirst().map { $0.trimmingPrefix { " -".contains($0) } }
        return items.isEmpty ? String(first) : "\(first) \(items.joined(separator: ", "))"
    }
}

extension ParsableArguments {
    /// Options from arguments such as `--workers=2`, all values checked.
    static func checked(_ arguments: [String]) throws(CommandError) -> Self {
        do {
            return try parse(arguments)
        } catch {
            throw CommandError(.badUsage, ParserMessage.oneLine(message(for: error)))
        }
    }
}
