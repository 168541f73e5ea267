import Transport

/// Chooses a worker for a socket.
struct Balancer: Sendable, Codable {
    /// How long a source waits for its own worker to take what is on the way to it, before it goes to another. Bounded,
    /// because those behind it in the queue wait too, and the worker may be hung.
    static let affinityWait: Duration = .milliseconds(50)

    private(set) var mode: Balance
    private(set) var inflightMax: Int
    /// Where the next search begins, so that equals take turns.
    private var start = 0

    init(mode: Balance, inflightMax: Int) {
        self.mode = mode
        self.inflightMax = inflightMax
    }

    /// Goes on by another configuration.
    mutating func adopt(_ configuration: SupervisorConfiguration) {
        (mode, inflightMax) = (configuration.balance, configuration.inflightPerWorkerMax)
    }

    /// The slot that gets this socket now, or nil if it must wait.
    mutating func choose(among slots: [WorkerSlot], for held: HeldSocket, now: MonotonicTime) -> Int? {
        let socket = held.socket
        switch mode {
        case .leastLoaded: return rotate(in: slots, for: held, byLoad: true)
        case .roundRobin: return rotate(in: slots, for: held, byLoad: false)
        case .sourceHash:
            let own = rendezvous(among: slots, sourceHash: socket.sourceHash) { $0.canTake(held) && $0.spare > 0 }
            if let own, slots[own].room(inflightMax: inflightMax) > 0 { return own }
            if now - socket.acceptedAt < Self.affinityWait { return nil }
            return rendezvous(among: slots, sourceHash: socket.sourceHash) {
                $0.canTake(held) && $0.room(inflightMax: inflightMax) > 0
            }
        }
    }

    /// The slot with the lowest load, if loads count; the first of equals, counted from the one after the last choice.
    private mutating func rotate(in slots: [WorkerSlot], for held: HeldSocket, byLoad: Bool) -> Int? {
        var best: (index: Int, cost: Int)?
        var index = start < slots.count ? start : 0
        for _ in slots.indices {
            if slots[index].canTake(held), slots[index].room(inflightMax: inflightMax) > 0 {
                let cost = byLoad ? slots[index].load : 0
                if best.map({ cost < $0.cost }) ?? true { best = (index, cost) }
            }
            index = index + 1 < slots.count ? index + 1 : 0
        }
        if let best { start = (best.index + 1) % slots.count }
        return best?.index
    }

    /// Rendezvous hashing: every seat draws a number from the source, the highest wins. A seat that drops out moves only
    /// its own sources, and they spread over all others. A successor has the seat, and so the sources, of the one before.
    private func rendezvous(
        among slots: [WorkerSlot], sourceHash: UInt64, where isEligible: (WorkerSlot) -> Bool
    ) -> Int? {
        var best: (index: Int, score: UInt64)?
        for index in slots.indices where isEligible(slots[index]) {
            let score = SplitMix64.mix(sourceHash ^ SplitMix64.mix(UInt64(slots[index].seat) + 1))
            if best.map({ score > $0.score }) ?? true { best = (index, score) }
        }
        return best?.index
    }
}
