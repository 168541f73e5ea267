/// Options from the environment: `RINGMASTER_MAX_CONNECTIONS=100` is `--max-connections 100`.
///
/// The command line wins. A list is separated by commas; a flag is set by `1`, `true`, `yes` or `on`. Variables that name no
/// option are left alone: an orchestrator may set RINGMASTER_SERVICE_HOST and the like for reasons of its own.
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
        Option(name: "log-format"),
    ]

    private static let proxy = [
        Option(name: "upstream", kind: .list), Option(name: "upstream-policy"), Option(name: "connect-timeout"),
        Option(name: "upstream-rest"), Option(name: "idle-timeout"), Option(name: "accept-proxy", kind: .flag),
        Option(name: "send-proxy"), Option(name: "resolve-interval"),
    ]

    private static func options(of command: String?) -> [Option] {
        switch command {
        case "echo": common
        case "proxy": common + proxy
        case "check": [Option(name: "workers")]
        default: []
        }
    }

    /// The variable that stands for an option.
    static func variable(for option: String) -> String {
        prefix + option.uppercased().replacing("-", with: "_")
    }

    private static func isOn(_ value: String) -> Bool? {
        switch value.lowercased() {
        case "1", "true", "yes", "on": true
        case "0", "false", "no", "off": false
        default: nil
        }
    }

    /// A parser's message about `--workers`, with a word about where the value came from if it was not given there.
    static func explain(_ message: String, arguments: [String]) -> String {
        for option in options(of: arguments.first) {
            let flag = "--\(option.name)"
            let isGiven = arguments.contains { $0 == flag || $0.hasPrefix(flag + "=") }
            if !isGiven, message.contains("for '\(flag) ") || message.contains("for '\(flag)'") {
                return "\(message), which \(variable(for: option.name)) gives"
            }
        }
        return message
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
        for option in options(of: arguments.first) {
            let flag = "--\(option.name)"
            let isGiven = arguments.contains { $0 == flag || $0.hasPrefix(flag + "=") }
            let variable = variable(for: option.name)
            guard !isGiven, let value = environment.first(where: { $0.name == variable })?.value, !value.isEmpty else {
                continue
            }
            switch option.kind {
            case .single:
                result.append("\(flag)=\(value)")
            case .list:
                result += value.split(separator: ",").map { "\(flag)=\($0.trimmed)" }
            case .flag:
                guard let isOn = isOn(value) else {
                    throw CommandError(
                        .badUsage, "\(variable)=\(value) makes no sense: give 1, true or yes, or else 0, false or no")
                }
                if isOn { result.append(flag) }
            }
        }
        return result
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
