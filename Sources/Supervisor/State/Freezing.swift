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
    /// Nil if the state may be frozen now, to go on in another process; otherwise a sentence that says why not.
    public var canFreeze: String? {
        if let reason = noScaling { return reason }
        if succession?.reason == .command { return "a worker is being replaced" }
        return scaleWaits.isEmpty ? nil : "workers are being added"
    }

    /// The state was thawed. Its accepts ended with the process that had them, and no page was read since.
    mutating func thawed(_ now: MonotonicTime) {
        if intake == .accepting { intake = .paused }
        for index in slots.indices { slots[index].skipPulse(to: now) }
        watch.progress(now: now)
    }
}
