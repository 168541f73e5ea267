import ArgumentParser

/// An option as the environment and a configuration file know it: by its long name, without dashes.
struct OptionName: Hashable, Sendable {
    enum Kind {
        case single, list, flag
    }

    let name: String
    let kind: Kind
    /// What to write for it, where its type tells. No part of its identity.
    let remedy: String?

    init(_ name: String, _ kind: Kind = .single, remedy: String? = nil) {
        self.name = name
        self.kind = kind
        self.remedy = remedy
    }

    static func == (one: OptionName, other: OptionName) -> Bool { one.name == other.name && one.kind == other.kind }

    func hash(into hasher: inout Hasher) {
        hasher.combine(name)
        hasher.combine(kind)
    }

    /// Whether a parser's message is about a value of this option.
    func isBlamed(in message: String) -> Bool {
        message.contains("for '--\(name) ") || message.contains("for '--\(name)'")
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

// MARK: What a type declares

extension OptionName {
    /// The options that a type declares, and those of its groups, in their order. Found as the parser itself finds them: by
    /// the property wrappers of a fresh instance.
    static func declared(in type: any ParsableArguments.Type) -> [OptionName] {
        Mirror(reflecting: type.init()).children.flatMap { child -> [OptionName] in
            // A property `name` is stored by its wrapper as `_name`.
            let property = (child.label ?? "").drop { $0 == "_" }
            switch (child.value as? any Declaration)?.declared {
            case .option(let kind, let remedy): return [OptionName(dashed(property), kind, remedy: remedy)]
            case .group(let group): return declared(in: group)
            case nil: return []
            }
        }
    }

    /// `maxConnections` as `max-connections`, `useTLSKey` as `use-tls-key`: as the parser names options.
    private static func dashed(_ property: Substring) -> String {
        var result = ""
        var previous: Character?
        for (letter, next) in zip(property, property.dropFirst().map(Optional.some) + [nil]) {
            if letter.isUppercase, let previous, !previous.isUppercase || next?.isLowercase == true { result += "-" }
            result += letter.lowercased()
            previous = letter
        }
        return result
    }
}

/// What a property wrapper declares.
private enum Declared {
    case option(OptionName.Kind, remedy: String?)
    case group(any ParsableArguments.Type)
}

/// A property wrapper of the parser.
private protocol Declaration {
    var declared: Declared { get }
}

extension Option: Declaration {
    fileprivate var declared: Declared {
        .option(
            Value.self is any List.Type ? .list : .single, remedy: (Value.self as? any BoundedValue.Type)?.remedy)
    }
}

extension Flag: Declaration {
    fileprivate var declared: Declared { .option(.flag, remedy: nil) }
}

extension OptionGroup: Declaration {
    fileprivate var declared: Declared { .group(Value.self) }
}

private protocol List {}
extension Array: List {}

/// A value of which the parser says only that it is wrong.
protocol BoundedValue {
    /// What to write: `give a number from 1 to 9`.
    static var remedy: String { get }
}

extension Optional: BoundedValue where Wrapped: BoundedValue {
    static var remedy: String { Wrapped.remedy }
}
