/// Options from the environment: `RINGMASTER_MAX_CONNECTIONS=100` is `--max-connections 100`.
///
/// The command line wins, and an empty variable says nothing. A list is separated by commas; a flag is set by `1`, `true`,
/// `yes` or `on`, and left unset by `0`, `false`, `no` or `off`. Variables that name no option are left alone: an
/// orchestrator may set RINGMASTER_SERVICE_HOST and the like for reasons of its own.
enum EnvironmentArguments {
    static let prefix = "RINGMASTER_"

    /// Of the commands that speak with a running Ringmaster.
    private static let control = [OptionName("control"), OptionName("timeout")]

    private static func options(of command: String?) -> [OptionName] {
        switch command {
        case "echo": ListenOptions.names + CommonOptions.names
        case "proxy": ListenOptions.names + CommonOptions.names + ProxyOptions.names
        case "run": [OptionName("config")]
        case "check": [OptionName("workers"), OptionName("transport"), OptionName("config")]
        case "status": control + [OptionName("json", .flag)]
        case "stop": control + [OptionName("fast", .flag)]
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

    private static func isGiven(_ option: OptionName, in arguments: [String]) -> Bool {
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
                guard let isSet = OptionName.isSet(value) else {
                    throw CommandError(.badUsage, "\(variable)=\(value) makes no sense: \(OptionName.flagRemedy)")
                }
                if isSet { result.append("--\(option.name)") }
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
