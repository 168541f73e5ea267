import Transport

/// Workers whose loop stands still.
extension SupervisorState {
    /// How long a worker may take to show where it hangs.
    static let abortTimeout: Duration = .seconds(1)

    /// Takes in a worker's heartbeat. One that stands still gets no traffic; it may be about to go on.
    mutating func feelPulse(
        _ index: Int, _ heartbeat: MonotonicTime, _ now: MonotonicTime, _ actions: inout [Action]
    ) {
        switch slots[index].feelPulse(heartbeat, now: now) {
        case .stalled: actions.append(.report(.stalled(slots[index].worker)))
        case .resumed: actions.append(.report(.resumed(slots[index].worker)))
        case nil: break
        }
    }

    /// Ends those that have stood still for too long.
    mutating func endHung(_ now: MonotonicTime, _ actions: inout [Action]) {
        guard let timeout = configuration.hangTimeout else { return }
        for index in slots.indices where slots[index].isHung(timeout, now: now) {
            counters.hung += 1
            actions.append(.report(.hung(slots[index].worker)))
            actions.append(.abort(slots[index].worker))
            slots[index].leave(killAt: now + Self.abortTimeout)
        }
    }
}
