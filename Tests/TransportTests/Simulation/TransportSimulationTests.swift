import Foundation
import Testing

@testable import TransportTesting

@Suite("Simulation of the transport")
struct TransportSimulationTests {
    private static let shards = 8
    /// Worlds per shard; the shards are played in parallel.
    private static let worlds = 300
    /// `RINGMASTER_SEED=N` plays that one world only.
    private static let seedAsked = ProcessInfo.processInfo.environment["RINGMASTER_SEED"].flatMap(UInt64.init)

    /// What came of some worlds.
    private struct Outcome {
        var failures: [String] = []
        var marks: Set<SimulationMark> = []

        mutating func play(_ seed: UInt64) {
            do {
                let world = try SimulatedWorld(seed: seed)
                for violation in world.run() { failures.append("RINGMASTER_SEED=\(seed): \(violation)") }
                marks.formUnion(world.log.marks)
            } catch {
                failures.append("RINGMASTER_SEED=\(seed): no world: \(error)")
            }
        }
    }

    /// All worlds, played once for all tests.
    private static let outcome = Task {
        await withTaskGroup(of: Outcome.self) { group in
            for shard in 0..<shards {
                group.addTask {
                    var outcome = Outcome()
                    for number in 0..<worlds { outcome.play(UInt64(shard * worlds + number)) }
                    return outcome
                }
            }
            return await group.reduce(into: Outcome()) { all, outcome in
                all.failures += outcome.failures
                all.marks.formUnion(outcome.marks)
            }
        }
    }

    @Test("in no world is a byte lost, repeated or moved, a connection left hanging, or anything kept")
    func everyByteIsAccountedFor() async {
        var outcome = Outcome()
        if let seed = Self.seedAsked { outcome.play(seed) } else { outcome = await Self.outcome.value }
        // Apart from the wait, so that a failure shows which worlds they are.
        let failures = outcome.failures
        #expect(failures == [])
    }

    @Test(
        "the worlds are eventful: everything that the simulator can bring about happens", .enabled(if: seedAsked == nil)
    )
    func worldsAreEventful() async {
        let marks = await Self.outcome.value.marks
        let missing = SimulationMark.allCases.filter { !marks.contains($0) }
        #expect(missing == [])
    }

    @Test("a world played twice goes the same way")
    func worldsAreReproducible() throws {
        for seed in UInt64(0)..<20 {
            let (first, second) = try (SimulatedWorld(seed: seed), SimulatedWorld(seed: seed))
            _ = (first.run(), second.run())
            #expect(first.story == second.story)
        }
    }

    @Test("a kernel that breaks its contract is found out", arguments: SimulatedKernel.Defect.allCases)
    func defectsAreNoticed(defect: SimulatedKernel.Defect) throws {
        let isNoticed = try (UInt64(0)..<100).contains { try !SimulatedWorld(seed: $0, defect: defect).run().isEmpty }
        #expect(isNoticed)
    }
}
