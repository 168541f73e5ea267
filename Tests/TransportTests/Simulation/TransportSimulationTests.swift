import Foundation
import Testing

@testable import TransportTesting

@Suite("Simulation of the transport")
struct TransportSimulationTests {
    /// Worlds per shard; the shards run in parallel.
    private static let worlds: UInt64 = 300
    private static let shards: UInt64 = 8
    /// `RINGMASTER_SEED=N` plays that one world only.
    private static let seedAsked = ProcessInfo.processInfo.environment["RINGMASTER_SEED"].flatMap(UInt64.init)

    @Test("in no world is a byte lost, repeated or moved, a connection left hanging, or anything kept", arguments: 0..<shards)
    func everyByteIsAccountedFor(shard: UInt64) throws {
        let seeds = Self.seedAsked.map { shard == 0 ? $0..<$0 + 1 : $0..<$0 }
        for seed in seeds ?? shard * Self.worlds..<(shard + 1) * Self.worlds {
            let world = try SimulatedWorld(seed: seed)
            #expect(world.run() == [], "RINGMASTER_SEED=\(seed) replays it")
        }
    }
}
@Suite struct TmpTiming {
    @Test func timing() throws {
        for seed in UInt64(0)..<120 {
            let start = ContinuousClock.now
            let world = try SimulatedWorld(seed: seed)
            let v = world.run()
            print("SEED", seed, ContinuousClock.now - start, world.kernel.moments, v)
        }
    }
}
