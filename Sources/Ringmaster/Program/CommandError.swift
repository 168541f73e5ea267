import Handoff

/// Not the parser's type of that name.
typealias ExitCode = Handoff.ExitCode

/// Input that cannot be used, or a machine that does not allow what was asked: one line, and the exit code of the program.
public struct CommandError: Error {
    /// What the program exits with.
    public var code: Handoff.ExitCode
    /// What is wrong and what to do about it, in one line.
    public var message: String

    /// An error with its code.
    public init(_ code: Handoff.ExitCode, _ message: String) {
        self.code = code
        self.message = message
    }

    /// A bad option, value or address: exit code 2.
    public init(_ message: String) {
        self.init(.badUsage, message)
    }
}
