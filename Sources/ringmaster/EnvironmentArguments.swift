/// Options from the environment: `RINGMASTER_MAX_CONNECTIONS=100` is `--max-connections 100`.
///
/// The command line wins, and an empty variable says nothing. A list is separated by commas; a flag is set by `1`, `true`,
/// `yes` or `on`, and left unset by `0`, `false`, `no` or `off`. Variables that name no option are left alone: an
/// orchestrator may set RINGMASTER_SERVICE_HOST and the like for reasons of its own.
enum EnvironmentArguments {
    static let prefix = "RINGMASTER_"

    private struct Option {
        enum Kind { case single, list, flag }
        var name: String
        var kind = Kind.single
    }

    private static let common = [
        Option(name: "listen", kind: .list), Option(name: "workers"), Option(name: "balance"),
        Option(name: "max-connections"), Option(name: "backlog"), Option(name: "grace"), Option(name: "log-level"),
        Option(name: "log-format"), Option(name: "transport"),
    ]

    private static let proxy = [
        Option(name: "upstream", kind: .list), Option(name: "upstream-policy"), Option(name: "connect-timeout"),
        Option(name: "upstream-rest"), Option(name: "idle-timeout"), Option(name: "accept-proxy", kind: .flag),
        Option(name: "send-proxy"), Option(name: "resolve-interval"),
    ]

    /// Of the commands that speak with a running Ringmaster.
    private static let control = [Option(name: "control"), Option(name: "timeout")]

    private static func options(of command: String?) -> [Option] {
        switch command {
        case "echo": common
        case "proxy": common + proxy
        case "check": [Option(name: "workers"), Option(name: "transport")]
        case "status": control + [Option(name: "json", kind: .flag)]
        case "stop": control + [Option(name: "fast", kind: .flag)]
        case "reload", "upgrade", "scale", "drain": control
        default: []
        }
    }

    /// The variable that stands for an option.
    static func variable(for option: String) -> String {
        prefix + option.uppercased().replacing("-", with: "_")
    }

    /// A parser's message about `--workers`, with a word about where the value came from if it was not given there.
    static func explain(_ message: String, arguments: [String]) -> String {
        for option in options(of: arguments.first) where !isGiven(option, in: arguments) {
            let flag = "--\(option.name)"
            if message.contains("for '\(flag) ") || message.contains("for '\(flag)'") {
                return "\(message), which \(variable(for: option.name)) gives"
            }
        }
        return message
    }

    private static func isGiven(_ option: Option, in arguments: [String]) -> Bool {
        arguments.contains { $0 == "--\(option.name)" || $0.hasPrefix("--\(option.name)=") }
    }

    /// The names of the options that the environment can give to a command.
    static func names(of command: String) -> [String] {
        options(of: command).map(\.name)
    }

    /// `arguments` followed by what the environment says and they do not.
    static func adding(
        to arguments: [String], from environment: [(name: String, value: String)]
    ) throws(CommandError) -> [String] {
        var result = arguments
        for option in options(of: arguments.first) where !isGiven(option, in: arguments) {
            let variable = variable(for: option.name)
            guard let value = environment.first(where: { $0.name == variable })?.value, !value.isEmpty else { continue }
            switch option.kind {
            case .single:
                result.append("--\(option.name)=\(value)")
            case .list:
                result += value.split(separator: ",").map { "--\(option.name)=\($0.trimmed)" }
            case .flag:
                if try isSet(variable, value) { result.append("--\(option.name)") }
            }
        }
        return result
    }

    private static func isSet(_ variable: String, _ value: String) throws(CommandError) -> Bool {
        switch value.lowercased() {
        case "1", "true", "yes", "on": return true
        case "0", "false", "no", "off": return false
        default:
            throw CommandError(.badUsage, "\(variable)=\(value) makes no sense: give yes or no, true or false, 1 or 0")
        }
    }
}

/// How help texts name an option's environment variable.
func variable(_ option: String) -> String {
    "[env: \(EnvironmentArguments.variable(for: option))]"
}

extension Substring {
    fileprivate var trimmed: Substring {
        var text = self
        while text.first?.isWhitespace == true { text.removeFirst() }
        while text.last?.isWhitespace == true { text.removeLast() }
        return text
    }
}
