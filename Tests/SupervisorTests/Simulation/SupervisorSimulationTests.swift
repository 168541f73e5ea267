import Foundation
import Testing

@testable import Supervisor

@Suite struct SupervisorSimulationTests {
    /// Worlds per shard; the shards run in parallel.
    private static let worlds: UInt64 = 400
    private static let shards: UInt64 = 8
    /// `RINGMASTER_SEED=N` plays that one world only.
    private static let seedAsked = ProcessInfo.processInfo.environment["RINGMASTER_SEED"].flatMap(UInt64.init)

    @Test("in no world is a socket lost, delivered twice or left behind", arguments: 0..<shards)
    func everySocketIsAccountedFor(shard: UInt64) {
        let seeds = Self.seedAsked.map { shard == 0 ? $0..<$0 + 1 : $0..<$0 }
        for seed in seeds ?? shard * Self.worlds..<(shard + 1) * Self.worlds {
            let world = World(seed: seed)
            let violations = world.run(turns: 150)
            #expect(violations.first == nil, "RINGMASTER_SEED=\(seed) replays it")
        }
    }

    @Test("a world played twice goes the same way")
    func worldsAreReproducible() {
        for seed in UInt64(0)..<20 {
            let (first, second) = (World(seed: seed), World(seed: seed))
            _ = first.run(turns: 100)
            _ = second.run(turns: 100)
            #expect(first.state.counters == second.state.counters && first.now == second.now)
        }
    }

    @Test("the worlds are eventful: everything that can happen to a socket or a worker does")
    func worldsAreEventful() {
        var closed: Set<SupervisorState.CloseReason> = []
        var (redelivered, restarts, adopted) = (UInt64(0), UInt64(0), UInt64(0))
        var exitCodes: Set<Int32> = []
        for seed in UInt64(0)..<300 {
            let world = World(seed: seed)
            _ = world.run(turns: 150)
            let counters = world.state.counters
            closed.formUnion(SupervisorState.CloseReason.allCases.filter { counters[$0] > 0 })
            redelivered += counters.redelivered
            restarts += counters.restarts
            adopted += counters.adopted
            exitCodes.insert(world.exitCode?.rawValue ?? -1)
        }
        #expect(closed == Set(SupervisorState.CloseReason.allCases))
        #expect(redelivered > 100 && restarts > 100 && adopted > 1_000)
        #expect(exitCodes.isSuperset(of: [0, 2, 4]) && !exitCodes.contains(-1))
    }
}
