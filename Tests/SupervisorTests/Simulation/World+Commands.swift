import Foundation
import Transport

@testable import Supervisor

/// The operator's part.
extension World {
    func command() {
        let id = orders.command(isAnonymous: chance(40))
        switch Int.random(in: 0..<10, using: &random) {
        case 0..<4: replaceAll(id, .reload)
        case 4..<6: upgrade(id)
        case 6: feed(.command(id, .scale(.to(Int.random(in: 0...6, using: &random)))))
        case 7: feed(.command(id, .scale(.by([-1, 1, 1, .max].randomElement(using: &random) ?? 1))))
        default: feed(.command(id, .drain(slot: Int.random(in: 0...workers.count, using: &random))))
        }
    }

    private func replaceAll(_ id: CommandID?, _ reason: ReplacementReason) {
        let configuration = SupervisorConfiguration.random(seed: random.next(), using: &random)
        workersMax = max(workersMax, configuration.workerCount)
        let generation = state.generationNext
        let next = orders.prepare(generation, using: &random)
        feed(
            .command(
                id,
                .replaceAll(reason: reason, configuration, listeners: next.listeners, changed: next.changed)))
        require(state.generationNext == generation + 1, "the command did not take generation \(generation)")
    }

    /// The supervisor becomes another process, in which its state goes on.
    private func upgrade(_ id: CommandID?) {
        if state.canFreeze == nil {
            do {
                let frozen = try JSONEncoder().encode(state)
                state = try JSONDecoder().decode(SupervisorState.self, from: frozen)
            } catch {
                require(false, "the state cannot be frozen and thawed: \(error)")
            }
            isAccepting = false
            feed(.thawed)
            upgrades += 1
        }
        replaceAll(id, .upgrade)
    }

    /// Nobody runs for a while, but time goes on.
    func suspend() {
        now = now + .milliseconds(Int.random(in: 1...60_000, using: &random))
        wasSuspended = true
    }
}
