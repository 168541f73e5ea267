@testable import IntegrationTesting

extension Pool {
    var log: SupervisorLog { SupervisorLog(ringmaster.process.errors) }
}

/// What the supervisor's log says of its workers' deaths and, at the end, of all connections.
struct SupervisorLog {
    /// The fields of one line.
    typealias Fields = [Substring: Substring]

    private let lines: [Substring]

    init(_ text: String) {
        lines = text.split(separator: "\n")
    }

    /// The fields of each line that has `message`.
    func fields(of message: String) -> [Fields] {
        lines.filter { $0.contains(": \(message)") }.map { line in
            let pairs = line.split(separator: " ").compactMap { word -> (Substring, Substring)? in
                guard let equals = word.firstIndex(of: "=") else { return nil }
                return (word[..<equals], word[word.index(after: equals)...])
            }
            return Dictionary(pairs) { first, _ in first }
        }
    }

    func count(of message: String) -> Int { fields(of: message).count }

    /// What was lost and what was given to others, over all deaths of workers.
    struct Deaths {
        var count = 0
        /// Connections that dead workers had adopted: all that their clients may have lost.
        var lost = 0
        /// Connections that dead workers had not adopted, and that others served.
        var redelivered = 0
    }

    /// All deaths. Throws when the log has collapsed some, because those do not say what was lost.
    func deaths() throws -> Deaths {
        guard count(of: "more workers died the same way") == 0 else {
            throw HarnessError("the log has collapsed deaths:\n" + lines.joined(separator: "\n"))
        }
        return try fields(of: "worker died").reduce(into: Deaths()) { deaths, line in
            deaths.count += 1
            deaths.lost += try Self.number("lost", line)
            deaths.redelivered += try Self.number("redelivered", line)
        }
    }

    /// A number of the last line, which a stopped supervisor writes: `accepted`, `adopted`, `not-served` and so on.
    func total(_ name: Substring) throws -> Int {
        guard let line = fields(of: "stopped").last else {
            throw HarnessError("no `stopped` in:\n" + lines.joined(separator: "\n"))
        }
        return try Self.number(name, line)
    }

    private static func number(_ name: Substring, _ line: Fields) throws -> Int {
        guard let text = line[name], let number = Int(text) else { throw HarnessError("no \(name)= in \(line)") }
        return number
    }
}
