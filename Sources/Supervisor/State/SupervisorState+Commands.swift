import Transport

/// Commands: each is answered exactly once.
extension SupervisorState {
    mutating func obey(_ id: CommandID?, _ command: Command, _ now: MonotonicTime, _ actions: inout [Action]) {
        switch command {
        case .replaceAll(let reason, let configuration, let listeners, let changed):
            let next = Replacement(
                command: id, reason: reason, generation: generationNext, configuration: configuration,
                listeners: listeners, changed: changed)
            generationNext += 1
            replaceAll(next, now, &actions)
        case .scale(let change):
            if let reason = noScaling {
                actions.append(.finished(id, .refused(reason)))
            } else {
                scale(id, change, now, &actions)
            }
        case .drain(let slot):
            drain(id, slot: slot, now, &actions)
        }
    }

    /// Why nothing can be commanded; nil while it can.
    var noCommands: String? {
        switch phase {
        case .running: nil
        case .idle: "the supervisor is starting"
        case .stopping, .exited: "the supervisor is stopping"
        }
    }

    /// The supervisor stops: whatever was asked for comes to nothing.
    mutating func abandonCommands(_ now: MonotonicTime, _ actions: inout [Action]) {
        let reason = "the supervisor is stopping"
        if replacement != nil { rollBack(reason, now, &actions) }
        failSuccession(reason, now, &actions)
        for wait in scaleWaits { actions.append(.finished(wait.command, .failed(reason))) }
        scaleWaits.removeAll()
    }
}
