import Handoff
import Transport

// What the state is made of outlives the process in which it was made: an upgrade freezes it before exec and thaws it
// after. Keys that a binary does not know are ignored. CLOCK_MONOTONIC goes on over an exec, and so do descriptors.

extension MonotonicTime: Codable {
    /// Reads the nanoseconds of the clock.
    public init(from decoder: any Decoder) throws {
        self.init(nanoseconds: try decoder.singleValueContainer().decode(UInt64.self))
    }

    /// Writes the nanoseconds of the clock.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(nanoseconds)
    }
}

extension ExitCode: Codable {}

extension SupervisorState {
    /// Nil if the state may be frozen now, to go on in another process; otherwise why not.
    public var canFreeze: String? {
        guard case .running = phase else { return "the supervisor is starting or stopping" }
        return nil
    }
}
