import Testing

@testable import Handoff

@Suite("what a worker is told at birth")
struct WorkerBirthTests {
    @Test("what is encoded is read back", arguments: [false, true], [0, 1023])
    func roundTrip(hasSmallRing: Bool, slot: Int) {
        let birth = WorkerBirth(slot: slot, generation: .max, connectionsMax: 1, hasSmallRing: hasSmallRing)
        #expect(WorkerBirth(encoded: birth.encoded) == birth)
    }

    @Test(
        "anything else is refused: no supervisor wrote it",
        arguments: [
            "", ":", "yes", "1", "1:2", "1:2:3", "1:2:3:", "1:2:3:2", "1:2:3:yes", "1:2:3:0:", "1:2:3:0:5", "-1:2:3:0",
            "1:-2:3:0", "1:2:0:0", "1:2:-3:0", "1:4294967296:3:0", " 1:2:3:0", "1:2:3:0\n", "a:2:3:0",
        ])
    func refused(text: String) {
        #expect(WorkerBirth(encoded: text) == nil)
    }
}
