/// Options from the environment: `RINGMASTER_MAX_CONNECTIONS=100` is `--max-connections 100`.
///
/// The command line wins, and an empty variable says nothing. A list is separated by commas; a flag is set by `1`, `true`,
/// `yes` or `on`, and left unset by `0`, `false`, `no` or `off`. Variables that name no option are left alone: an
/// orchestrator may set RINGMASTER_SERVICE_HOST and the like for reasons of its own.
public enum EnvironmentArguments {
    static let prefix = "RINGMASTER_"

    /// How the help of an option names its variable: `[env: RINGMASTER_IDLE_TIMEOUT]` for `idle-timeout`.
    public static func note(_ option: String) -> String { "[env: \(variable(for: option))]" }

    /// The variable that stands for an option.
    static func variable(for option: String) -> String {
        prefix + option.uppercased().replacing("-", with: "_")
    }

    /// A parser's message about `--workers`, with a word about where the value came from if it was not given there, and
    /// what to write instead.
    static func explain(_ message: String, arguments: [String], options: [OptionName]) -> String {
        guard let option = options.first(where: { $0.isBlamed(in: message) }) else { return message }
        let origin = isGiven(option, in: arguments) ? "" : ", which \(variable(for: option.name)) gives"
        return message + origin + (option.remedy.map { ": \($0)" } ?? "")
    }

    private static func isGiven(_ option: OptionName, in arguments: [String]) -> Bool {
        arguments.contains { $0 == "--\(option.name)" || $0.hasPrefix("--\(option.name)=") }
    }

    /// `arguments` followed by what the environment says and they do not.
    static func adding(
        to arguments: [String], options: [OptionName], from environment: [(name: String, value: String)]
    ) throws(CommandError) -> [String] {
        var result = arguments
        for option in options where !isGiven(option, in: arguments) {
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

extension Substring {
    fileprivate var trimmed: Substring {
        var text = self
        while text.first?.isWhitespace == true { text.removeFirst() }
        while text.last?.isWhitespace == true { text.removeLast() }
        return text
    }
}
