import ArgumentParser

/// An option as the environment and a configuration file know it: by its long name, without dashes.
struct OptionName: Sendable {
    enum Kind {
        case single, list, flag
    }

    let name: String
    let kind: Kind

    init(_ name: String, _ kind: Kind = .single) {
        self.name = name
        self.kind = kind
    }

    /// What a flag's value says; nil when it says nothing.
    static func isSet(_ value: String) -> Bool? {
        switch value.lowercased() {
        case "1", "true", "yes", "on": true
        case "0", "false", "no", "off": false
        default: nil
        }
    }

    static let flagRemedy = "give yes or no, true or false, 1 or 0"
}

/// Options that a configuration file can give as well as the command line and the environment.
protocol NamedOptions: ParsableArguments {
    /// All that it has.
    static var names: [OptionName] { get }

    /// Checks each value that is given, as the parser cannot; says nothing of what is missing.
    func checkValues() throws(CommandError)
}

extension NamedOptions {
    /// Options from arguments such as `--workers=2`, all values checked.
    static func checked(_ arguments: [String]) throws(CommandError) -> Self {
        let options: Self
        do {
            options = try parse(arguments)
        } catch {
            throw CommandError(.badUsage, Program.oneLine(message(for: error)))
        }
        try options.checkValues()
        return options
    }
}
