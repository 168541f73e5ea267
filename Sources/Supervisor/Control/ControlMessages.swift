import FoundationEssentials

/// What an operator asks of a running supervisor through its control socket: one JSON object in one line, such as
/// `{"command":"scale","to":4}`.
public enum ControlRequest: Hashable, Sendable {
    /// Tell how things are.
    case status
    /// As SIGHUP: read the configuration again, and serve by it.
    case reload
    /// As SIGUSR2: go on with the program file as it is now.
    case upgrade
    /// Serve with so many workers.
    case scale(to: Int)
    /// Start a replacement for the worker of this slot, then let that worker go.
    case drain(slot: Int)
    /// As SIGTERM, or when fast as SIGINT.
    case stop(fast: Bool)
}

extension ControlRequest: Codable {
    private enum Key: String, CodingKey {
        case command, to, slot, fast
    }

    /// The commands' names, as they stand in a request and on the command line.
    private enum Name: String, Codable {
        case status, reload, upgrade, scale, drain, stop
    }

    /// Reads a request. Keys that it does not know are ignored; `fast` may be left out.
    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: Key.self)
        switch try values.decode(Name.self, forKey: .command) {
        case .status: self = .status
        case .reload: self = .reload
        case .upgrade: self = .upgrade
        case .scale: self = .scale(to: try values.decode(Int.self, forKey: .to))
        case .drain: self = .drain(slot: try values.decode(Int.self, forKey: .slot))
        case .stop: self = .stop(fast: try values.decodeIfPresent(Bool.self, forKey: .fast) ?? false)
        }
    }

    /// Writes a request as ``init(from:)`` reads it.
    public func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: Key.self)
        switch self {
        case .status: try values.encode(Name.status, forKey: .command)
        case .reload: try values.encode(Name.reload, forKey: .command)
        case .upgrade: try values.encode(Name.upgrade, forKey: .command)
        case .scale(let count):
            try values.encode(Name.scale, forKey: .command)
            try values.encode(count, forKey: .to)
        case .drain(let slot):
            try values.encode(Name.drain, forKey: .command)
            try values.encode(slot, forKey: .slot)
        case .stop(let isFast):
            try values.encode(Name.stop, forKey: .command)
            try values.encode(isFast, forKey: .fast)
        }
    }
}

/// What the supervisor answers: one JSON object in one line.
public struct ControlReply: Codable, Sendable {
    /// Whether what was asked for has been done.
    public var ok: Bool
    /// What has been done, or why not: a sentence for a person.
    public var message: String
    /// How things are, for ``ControlRequest/status``.
    public var status: StatusReport?

    /// A reply.
    public init(ok: Bool, message: String, status: StatusReport? = nil) {
        self.ok = ok
        self.message = message
        self.status = status
    }
}

/// JSON as it goes over the control socket: an object in one line, the keys in the order of the alphabet.
enum ControlLine {
    /// The value and a line feed. JSON escapes line feeds within strings, so that there is no other.
    static func encode(_ value: some Encodable) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return Array(try encoder.encode(value)) + [UInt8(ascii: "\n")]
    }

    static func decode<Value: Decodable>(_ type: Value.Type, from line: some Collection<UInt8>) throws -> Value {
        try JSONDecoder().decode(type, from: Data(line))
    }
}
