import Yams

/// Reads YAML into ``ConfigurationValue``s: as little of YAML as a configuration needs, so that nothing written by
/// mistake means something.
struct ConfigurationParser {
    /// The file's name, for messages.
    let name: String

    /// How deep lists and mappings may be nested. What a configuration can mean needs four levels.
    private static let depthMax = 8

    func parse(_ bytes: [UInt8]) throws(CommandError) -> ConfigurationValue {
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw CommandError(.badUsage, "\(name): it is not UTF-8 text")
        }
        let yaml: Parser
        let root: Node?
        do {
            // Said explicitly: by default Yams would ask the environment, and print.
            yaml = try Parser(yaml: text, encoding: .utf8)
            root = try yaml.singleRoot()
        } catch let error as YamlError {
            throw refusal(of: error, in: text)
        } catch {
            throw CommandError(.badUsage, "\(name): \(ParserMessage.oneLine("\(error)"))")
        }
        // Nodes refer to their anchors weakly: the parser owns them.
        defer { withExtendedLifetime(yaml) {} }
        guard let root else { return ConfigurationValue(line: 1, content: .nothing) }
        return try value(of: root, depth: 1)
    }

    /// An error in the file's line.
    func error(_ line: Int, _ message: String) -> CommandError {
        CommandError(.badUsage, "\(name):\(line): \(message)")
    }

    // MARK: Nodes

    private func value(of node: Node, depth: Int) throws(CommandError) -> ConfigurationValue {
        let line = node.mark?.line ?? 1
        // Before anything below it is looked at: a few lines of aliases can stand for more than any memory holds.
        guard node.anchor == nil else {
            throw error(line, "anchors and aliases (&, *) are not understood here: write the values out, or quote them")
        }
        guard depth <= Self.depthMax else { throw error(line, "lists and mappings are nested too deeply") }
        let content: ConfigurationValue.Content
        switch node {
        case .scalar(let scalar): content = try self.content(of: scalar, line)
        case .sequence(let sequence):
            var items: [ConfigurationValue] = []
            for item in sequence { items.append(try value(of: item, depth: depth + 1)) }
            content = .list(items)
        case .mapping(let mapping): content = .mapping(try entries(of: mapping, depth: depth + 1))
        case .alias: throw error(line, "aliases (*) are not understood here")
        }
        return ConfigurationValue(line: line, content: content)
    }

    private func content(of scalar: Node.Scalar, _ line: Int) throws(CommandError) -> ConfigurationValue.Content {
        let text = scalar.string
        if scalar.style == .plain, ["", "~", "null", "Null", "NULL"].contains(text) { return .nothing }
        guard !text.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }) else {
            throw error(line, "a value has a line break or another control character in it")
        }
        return .text(text)
    }

    private func entries(of mapping: Node.Mapping, depth: Int) throws(CommandError) -> [ConfigurationEntry] {
        var entries: [ConfigurationEntry] = []
        var seen: Set<String> = []
        for (key, value) in mapping {
            let keyValue = try self.value(of: key, depth: depth)
            guard case .text(let name) = keyValue.content else {
                throw error(keyValue.line, "a key must be a name, and is \(keyValue.kind)")
            }
            guard seen.insert(name).inserted else { throw error(keyValue.line, Self.duplicate(name)) }
            entries.append(
                ConfigurationEntry(key: name, line: keyValue.line, value: try self.value(of: value, depth: depth)))
        }
        return entries
    }

    private static func duplicate(_ key: String) -> String { "\(key) is given more than once" }

    // MARK: Syntax errors

    private func refusal(of error: YamlError, in text: String) -> CommandError {
        switch error {
        case .scanner(let context, let problem, let mark, _), .parser(let context, let problem, let mark, _),
            .composer(let context, let problem, let mark, _):
            let around = context.map { " \($0.text)" } ?? ""
            let lines = [mark.line, context?.mark.line].compactMap { $0 }
            return self.error(
                mark.line, ParserMessage.oneLine("this is no YAML: \(problem)\(around)\(Self.hint(lines, in: text))"))
        case .reader(let problem, let offset, _, _):
            let line = text.prefix(offset ?? 0).count { $0.isNewline } + 1
            return self.error(line, "this is no YAML: \(problem)")
        case .duplicatedKeysInMapping(let duplicates, let context):
            return self.error(context.mark.line, Self.duplicate(duplicates.joined(separator: ", ")))
        case .no, .memory, .writer, .emitter, .representer, .dataCouldNotBeDecoded:
            return CommandError(.badUsage, "\(name): this is no YAML: \(ParserMessage.oneLine("\(error)"))")
        }
    }

    /// A word about the mistakes that the parser's own words do not tell.
    private static func hint(_ numbers: [Int], in text: String) -> String {
        let all = text.split(omittingEmptySubsequences: false) { $0.isNewline }
        let lines = numbers.filter { (1...all.count).contains($0) }.map { all[$0 - 1] }
        if lines.contains(where: { $0.prefix { $0 == " " || $0 == "\t" }.contains("\t") }) {
            return "; indent with spaces, not with tabs"
        }
        if lines.contains(where: { $0.contains("[") && $0.contains("]:") }) {
            return "; an IPv6 address needs quotes, such as '[::1]:7000'"
        }
        return ""
    }
}
