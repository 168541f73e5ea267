import ArgumentParser
import Logging
import Supervisor
import Transport

/// How many workers: a number, or what the machine can keep busy.
enum WorkerCount: ExpressibleByArgument, BoundedValue, Equatable {
    case automatic
    case count(Int)

    static let max = 1024
    static var remedy: String { "give a number from 1 to \(max), or auto" }

    init?(argument: String) {
        if argument == "auto" {
            self = .automatic
            return
        }
        guard let count = Int(argument), (1...Self.max).contains(count) else { return nil }
        self = .count(count)
    }

    var defaultValueDescription: String { "auto" }

    /// The number, for a machine with these CPUs.
    func resolved(_ budget: CPUBudget) -> Int {
        switch self {
        case .automatic: min(budget.cpuCount, Self.max)
        case .count(let count): count
        }
    }
}

// Not CaseIterable: the parser would tell the case's own name as the default.
extension Balance: ExpressibleByArgument {
    /// The names on the command line.
    static let names: [(String, Balance)] = [
        ("least", .leastLoaded), ("round-robin", .roundRobin), ("source-hash", .sourceHash),
    ]

    /// Reads a name from the command line.
    public init?(argument: String) {
        guard let found = Self.names.first(where: { $0.0 == argument }) else { return nil }
        self = found.1
    }

    /// All names, for help texts.
    public static var allValueStrings: [String] { names.map(\.0) }
    /// None: the help text says what they mean.
    public static var allValueDescriptions: [String: String] { [:] }
    /// Its name, for help texts.
    public var defaultValueDescription: String { Self.names.first { $0.1 == self }?.0 ?? "" }
}

/// A log level by name.
enum LogLevel: String, ExpressibleByArgument, CaseIterable {
    case trace, debug, info, notice, warning, error

    var level: Logger.Level { Logger.Level(rawValue: rawValue) ?? .info }
}

extension LogFormat: ExpressibleByArgument {}

extension TransportPreference: ExpressibleByArgument {}

/// A time in seconds, whole or with a fraction, from 0 to a year.
public struct Seconds: ExpressibleByArgument, Hashable, Sendable {
    /// The time, in whole milliseconds.
    public var duration: Duration

    static let max = 31_536_000.0

    /// So many seconds, at least 0.
    public init(_ seconds: Int) {
        duration = .seconds(seconds)
    }

    /// Reads a number such as `30` or `0.5`; nil when it is none or out of range.
    public init?(argument: String) {
        guard let seconds = Double(argument), seconds >= 0, seconds <= Self.max else { return nil }
        duration = .milliseconds(Int((seconds * 1000).rounded()))
    }

    /// As it may be written, for help texts.
    public var defaultValueDescription: String { description }
}

extension Seconds: BoundedValue {
    static var remedy: String { "give a number of seconds from 0 to \(Int(max))" }
}

extension Seconds: CustomStringConvertible {
    /// As it may be written: `30`, `0.5`.
    public var description: String {
        let (seconds, attoseconds) = duration.components
        return attoseconds == 0 ? "\(seconds)" : "\(Double(seconds) + Double(attoseconds) / 1e18)"
    }
}
