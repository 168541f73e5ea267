import ArgumentParser
import Transport

/// Makes a ``Plan`` of a configuration file.
///
/// The file's keys are the options' names, and its values go through the same parsers as the command line's, so that
/// ranges, defaults and messages are the same. The environment has no say in what a file leaves out.
struct PlanReader {
    /// The file's name, for messages.
    let name: String
    /// The services that there are.
    let services: [any ServiceOptions.Type]

    /// The most values that one key may have.
    private static let listMax = 1024

    /// One value of an option, as an argument.
    private struct Given {
        var argument: String
        var line: Int
    }

    private var parser: ConfigurationParser { ConfigurationParser(name: name) }

    func plan(_ bytes: [UInt8]) throws(CommandError) -> Plan {
        let root = try parser.parse(bytes)
        let entries: [ConfigurationEntry]
        switch root.content {
        case .mapping(let found): entries = found
        case .nothing: throw parser.error(1, "the file is empty: \(Self.listenersMissing)")
        case .text, .list:
            throw parser.error(root.line, "the file must be a mapping of keys to values, and is \(root.kind)")
        }
        var given: [Given] = []
        var listeners: [PlannedListener]?
        for entry in entries {
            if entry.key == "listeners" {
                listeners = try self.listeners(entry)
            } else {
                given += try self.given(entry, among: OptionName.declared(in: CommonOptions.self), and: ["listeners"])
            }
        }
        guard let listeners else { throw parser.error(root.line, Self.listenersMissing) }
        let options = try options(CommonOptions.self, given, line: root.line)
        return Plan(options: options, listeners: listeners, source: bytes, origin: origin(given, line: root.line))
    }

    private func origin(_ given: [Given], line: Int) -> PlanOrigin {
        let options = given.map { given in
            let name = given.argument.dropFirst(2).prefix { $0 != "=" }
            return PlanOrigin.Given(
                name: String(name), value: String(given.argument.dropFirst(3 + name.count)), line: given.line)
        }
        return PlanOrigin(file: name, line: line, given: options)
    }

    private static let listenersMissing =
        "listeners is missing: give a list of them, each with listen and service"

    // MARK: Listeners

    private func listeners(_ entry: ConfigurationEntry) throws(CommandError) -> [PlannedListener] {
        guard case .list(let items) = entry.value.content, !items.isEmpty else {
            let kind = if case .list = entry.value.content { "empty" } else { entry.value.kind }
            throw parser.error(
                entry.line, "listeners must be a list, such as '- listen: 127.0.0.1:7000', and is \(kind)")
        }
        var listeners: [PlannedListener] = []
        var lines: [ListenAddress: Int] = [:]
        for item in items {
            let (addresses, service, options) = try listener(item)
            for (address, line) in addresses {
                if let earlier = lines.updateValue(line, forKey: address) {
                    throw parser.error(line, "listen: \(address) is given in line \(earlier) already")
                }
                guard listeners.count < ListenOptions.listenersMax else {
                    throw parser.error(line, "listen: \(ListenOptions.listenersMax) listeners are the most")
                }
                listeners.append(
                    PlannedListener(address: address, service: service, origin: origin(options, line: line)))
            }
        }
        return listeners
    }

    private func listener(
        _ item: ConfigurationValue
    ) throws(CommandError) -> (
        addresses: [(address: ListenAddress, line: Int)], service: PlannedService, options: [Given]
    ) {
        guard case .mapping(let entries) = item.content else {
            throw parser.error(item.line, "a listener must be a mapping with listen and service, and is \(item.kind)")
        }
        let type = try service(entries, item)
        let names = OptionName.declared(in: type)
        var listen: [Given] = []
        var given: [Given] = []
        for entry in entries where entry.key != "service" {
            let isListen = entry.key == "listen"
            let found = try self.given(
                entry, among: isListen ? OptionName.declared(in: ListenOptions.self) : names,
                and: ["listen", "service"])
            if isListen { listen = found } else { given += found }
        }
        let listenOptions = try options(ListenOptions.self, listen, line: item.line)
        let serviceOptions = try options(type, given, line: item.line)
        let addresses: [ListenAddress]
        do throws(CommandError) {
            addresses = try listenOptions.addresses()
            try serviceOptions.checkComplete()
        } catch {
            throw located(item.line, error)
        }
        let numeric = try zip(addresses, listen).map { (address, given) throws(CommandError) in
            // Each worker makes its plan of the same text: it must come to the same listeners.
            guard case .address = address else {
                throw parser.error(given.line, "listen: \(address): host names are not looked up here: give a number")
            }
            return (address, given.line)
        }
        return (numeric, PlannedService(serviceOptions, arguments: given.map(\.argument)), given)
    }

    private func service(
        _ entries: [ConfigurationEntry], _ item: ConfigurationValue
    ) throws(CommandError) -> any ServiceOptions.Type {
        let all = services.map { $0.kind }.joined(separator: " or ")
        guard let entry = entries.first(where: { $0.key == "service" }) else {
            if services.count == 1 { return services[0] }
            throw parser.error(item.line, "service is missing: give \(all)")
        }
        guard case .text(let kind) = entry.value.content else {
            throw parser.error(entry.line, "service must be \(all), and is \(entry.value.kind)")
        }
        guard let service = services.first(where: { $0.kind == kind }) else {
            throw parser.error(entry.line, "service: there is no '\(kind)': give \(all)")
        }
        return service
    }

    // MARK: Options

    /// The values of an entry as arguments.
    private func given(
        _ entry: ConfigurationEntry, among names: [OptionName], and others: [String]
    ) throws(CommandError) -> [Given] {
        guard let option = names.first(where: { $0.name == entry.key }) else {
            throw parser.error(entry.line, unknown(entry.key, others + names.map(\.name)))
        }
        switch (entry.value.content, option.kind) {
        case (.text(let text), .flag):
            guard let isSet = OptionName.isSet(text) else {
                throw parser.error(entry.line, "\(entry.key): '\(text)' makes no sense: \(OptionName.flagRemedy)")
            }
            return isSet ? [Given(argument: "--\(option.name)", line: entry.line)] : []
        case (.text(let text), .single), (.text(let text), .list):
            return [Given(argument: "--\(option.name)=\(text)", line: entry.value.line)]
        case (.list(let items), .list):
            guard items.count <= Self.listMax else {
                throw parser.error(entry.line, "\(entry.key) has \(items.count) values: \(Self.listMax) are the most")
            }
            return try items.map { item throws(CommandError) in
                guard case .text(let text) = item.content else {
                    throw parser.error(item.line, "\(entry.key): a value of the list is \(item.kind)")
                }
                return Given(argument: "--\(option.name)=\(text)", line: item.line)
            }
        default:
            let wanted = option.kind == .list ? "a single value or a list of them" : "a single value"
            throw parser.error(entry.line, "\(entry.key) must be \(wanted), and is \(entry.value.kind)")
        }
    }

    private func unknown(_ key: String, _ names: [String]) -> String {
        let places: [(names: [OptionName], place: String)] =
            [
                (OptionName.declared(in: ListenOptions.self), "to a listener, in the list under listeners"),
                (OptionName.declared(in: CommonOptions.self), "to the top of the file"),
            ] + services.map { (OptionName.declared(in: $0), "to a listener with service: \($0.kind)") }
        if let found = places.first(where: { $0.names.contains { $0.name == key } }) {
            return "\(key) does not belong here but \(found.place)"
        }
        let start = "there is no key '\(key)'"
        if let near = NearestName.find(key, among: names) { return "\(start): is \(near) meant?" }
        return "\(start) here; there are \(names.joined(separator: ", "))"
    }

    /// Parses and checks options; an error names the line of the one that causes it.
    private func options<Options: ParsableArguments>(
        _ type: Options.Type, _ given: [Given], line: Int
    ) throws(CommandError) -> Options {
        func problem(_ arguments: [String]) -> String? {
            do throws(CommandError) {
                _ = try Options.checked(arguments)
                return nil
            } catch {
                return error.message
            }
        }
        do throws(CommandError) {
            return try Options.checked(given.map(\.argument))
        } catch {
            // Which one it was shows when each is tried alone, unless one is missing that nobody has given.
            let culprit = problem([]) == error.message ? nil : given.first { problem([$0.argument]) == error.message }
            throw located(culprit?.line ?? line, error)
        }
    }

    /// The error with the line in which it arose, and with options named as the file names them.
    private func located(_ line: Int, _ error: CommandError) -> CommandError {
        var message = error.message
        let types: [any ParsableArguments.Type] = [ListenOptions.self, CommonOptions.self] + services
        let options = types.flatMap(OptionName.declared)
        if let remedy = options.first(where: { $0.isBlamed(in: message) })?.remedy { message += ": \(remedy)" }
        for name in options.map(\.name) {
            // The parser's `'--grace <SECONDS>'`.
            if let start = message.range(of: "'--\(name) <"), let end = message[start.upperBound...].range(of: ">'") {
                message.replaceSubrange(start.lowerBound..<end.upperBound, with: "'\(name)'")
            }
            for next in [" is missing", " is given", "'"] {
                message = message.replacing("--\(name)\(next)", with: "\(name)\(next)")
            }
            message = message.replacing("--\(name) ", with: "\(name): ")
        }
        return parser.error(line, message)
    }
}

/// Makes the plan: from its source, or, with a text, as it was made when the source was that text.
typealias PlanSource = @Sendable (_ text: [UInt8]?) throws(CommandError) -> Plan

extension PlanReader {
    /// Reads a plan from a file, or from the text that was the file's when it was read before.
    static func source(_ path: String, _ services: [any ServiceOptions.Type]) -> PlanSource {
        { text throws(CommandError) in
            let reader = PlanReader(name: path, services: services)
            if let text { return try reader.plan(text) }
            return try reader.plan(ConfigurationFile.read(path))
        }
    }
}
