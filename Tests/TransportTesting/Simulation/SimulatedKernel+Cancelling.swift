import Glibc

@testable import Transport

// Cancellations, and connects, which are what is cancelled most.
extension SimulatedKernel {
    func cancel(_ name: UserData, _ target: UserData) {
        if defect == .swallowsCancellation, target.kind == .receive { return }
        guard let index = pending.firstIndex(where: { $0.name == target }), !pending[index].isNotifying else {
            log.mark(.cancelFoundNothing)
            return complete(name, -ENOENT)
        }
        if dice.chance(climate.cancelMissed) {
            // The target is between two states, and goes on: nobody may rely on what became of it.
            let isTooLate = dice.chance(50)
            log.mark(isTooLate ? .cancelCameTooLate : .cancelMissedLiving)
            return complete(name, isTooLate ? -EALREADY : -ENOENT)
        }
        pending[index].fate = .cancelled
        if dice.chance(climate.cancelledLater) {
            log.mark(.cancelledLater)
            return complete(name, 0)
        }
        log.mark(.cancelledFirst)
        advance(target)
        if !pending.contains(where: { $0.name == target && !$0.isNotifying }) { complete(name, 0) }
    }

    func connect(_ operation: Pending, _ fd: Int32) {
        if operation.isCancelled, !dice.chance(climate.cancelledWithResult) {
            log.mark(.connectGivenUp)
            return complete(operation.name, -ECANCELED)
        }
        if dice.chance(climate.connectFails) {
            log.mark(.connectRefused)
            return complete(operation.name, -dice.one(of: [ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ENETUNREACH]))
        }
        do {
            add(try harbour.join(fd))
            if operation.isCancelled { log.mark(.cancelledWithResult) }
            log.mark(.connected)
            complete(operation.name, 0)
        } catch {
            log.require(false, "the simulation cannot connect: \(error)")
        }
    }
}
