import Foundation
import Testing

@testable import Supervisor

@Suite struct SupervisorSimulationTests {
    /// Worlds per shard; the shards run in parallel.
    private static let worlds: UInt64 = 1_250
    private static let shards: UInt64 = 8
    private static let turns = 75
    /// `RINGMASTER_SEED=N` plays that one world only.
    private static let seedAsked = ProcessInfo.processInfo.environment["RINGMASTER_SEED"].flatMap(UInt64.init)

    @Test("in no world is a socket lost, delivered twice or left behind", arguments: 0..<shards)
    func everySocketIsAccountedFor(shard: UInt64) {
        let seeds = Self.seedAsked.map { shard == 0 ? $0..<$0 + 1 : $0..<$0 }
        for seed in seeds ?? shard * Self.worlds..<(shard + 1) * Self.worlds {
            let world = World(seed: seed)
            let violations = world.run(turns: Self.turns)
            #expect(violations.first == nil, "RINGMASTER_SEED=\(seed) replays it")
        }
    }

    @Test("in long crash loops the restart bound holds")
    func crashLoops() {
        for seed in UInt64(0)..<30 {
            let world = World(seed: seed, climate: .crashLoop)
            let violations = world.run(turns: 1_000)
            #expect(violations.first == nil, "seed \(seed)")
        }
    }

    @Test("a world played twice goes the same way")
    func worldsAreReproducible() {
        for seed in UInt64(0)..<20 {
            let (first, second) = (World(seed: seed), World(seed: seed))
            _ = first.run(turns: Self.turns)
            _ = second.run(turns: Self.turns)
            #expect(first.state.counters == second.state.counters && first.now == second.now)
        }
    }

    @Test("the worlds are eventful: everything that can happen to a socket or a worker does")
    func worldsAreEventful() {
        var totals: [String: UInt64] = [:]
        var exitCodes: Set<Int32> = []
        for seed in UInt64(0)..<600 {
            let world = World(seed: seed, climate: seed < 500 ? nil : .jam)
            _ = world.run(turns: Self.turns)
            totals.merge(world.state.counters.byName) { $0 + $1 }
            totals["upgrades", default: 0] += UInt64(world.upgrades)
            exitCodes.insert(world.exitCode?.rawValue ?? -1)
        }
        let rare = totals.filter { $0.value < 3 && $0.key != "closed.\(SupervisorState.CloseReason.undeliverable)" }
        #expect(rare.isEmpty)
        let neverGiven = SupervisorState.CloseReason.allCases.filter { totals["closed.\($0)", default: 0] == 0 }
        #expect(neverGiven.isEmpty)
        #expect(exitCodes.isSuperset(of: [0, 2, 4]) && !exitCodes.contains(-1))
    }
}
