import Transport

/// Another number of workers.
extension SupervisorState {
    /// Why the number cannot change now; nil if it can.
    var noScaling: String? {
        if let reason = noCommands { return reason }
        if let current = replacement { return "a \(current.reason.rawValue) is under way" }
        return nil
    }

    mutating func scale(
        _ id: CommandID?, _ change: ScaleChange, _ now: MonotonicTime, _ actions: inout [Action]
    ) {
        let (target, isTooFar) =
            switch change {
            case .to(let count): (count, false)
            case .by(let difference): wanted.addingReportingOverflow(difference)
            }
        guard !isTooFar, SupervisorConfiguration.workerCounts.contains(target) else {
            let range = SupervisorConfiguration.workerCounts
            return actions.append(
                .finished(id, .refused("there can be \(range.lowerBound) to \(range.upperBound) workers")))
        }
        if target == wanted {
            return actions.append(.finished(id, .done("it is \(counted(wanted, "worker")) already")))
        }
        target > wanted ? grow(id, to: target, now, &actions) : shrink(id, to: target, now, &actions)
    }

    private mutating func grow(
        _ id: CommandID?, to target: Int, _ now: MonotonicTime, _ actions: inout [Action]
    ) {
        let before = wanted
        wanted = target
        guard slotsFree >= target - before, scaleWaits.count < ScaleWait.countMax else {
            wanted = before
            return actions.append(.finished(id, .refused("too many earlier workers are still draining or starting")))
        }
        actions.append(.report(.scaled(from: before, to: target)))
        intensity.adopt(configuration.restart, workerCount: target)
        let taken = Set(members.map(\.seat))
        for seat in (0..<target).filter({ !taken.contains($0) }) {
            _ = enlist(.member, seat: seat, generation: generation, now, &actions)
        }
        scaleWaits.append(ScaleWait(command: id, until: now + configuration.bootTimeout))
    }

    /// The youngest go first, and before them those that do not serve.
    private mutating func shrink(
        _ id: CommandID?, to target: Int, _ now: MonotonicTime, _ actions: inout [Action]
    ) {
        actions.append(.report(.scaled(from: wanted, to: target)))
        let leaving = members.sorted { $0.dispensability > $1.dispensability }.prefix(wanted - target)
        wanted = target
        intensity.adopt(configuration.restart, workerCount: target)
        for slot in leaving {
            if succession?.old == slot.index { failSuccession("its seat is given up", now, &actions) }
            retire(slot.index, now, &actions)
        }
        reseat()
        actions.append(.finished(id, .done("scaled down to \(counted(target, "worker"))")))
    }

    /// Numbers the members without gaps, each as near to what it had as can be.
    private mutating func reseat() {
        var vacant = Set(0..<wanted).subtracting(members.map(\.seat)).sorted()[...]
        for index in slots.indices where slots[index].role == .member && slots[index].seat >= wanted {
            slots[index].sit(vacant.removeFirst())
        }
        if let succession { slots[succession.new].sit(slots[succession.old].seat) }
    }

    /// Answers those who wait for workers to become ready.
    mutating func answerScaling(_ now: MonotonicTime, _ actions: inout [Action]) {
        guard !scaleWaits.isEmpty else { return }
        let ready = members.count { $0.state == .ready }
        if ready == wanted {
            for wait in scaleWaits {
                actions.append(.finished(wait.command, .done("scaled up to \(counted(ready, "worker"))")))
            }
            return scaleWaits.removeAll()
        }
        while let wait = scaleWaits.first, wait.until <= now {
            let sentence = "only \(ready) of \(wanted) workers are ready; the others are started again and again"
            actions.append(.finished(wait.command, .failed(sentence)))
            scaleWaits.removeFirst()
        }
    }
}
