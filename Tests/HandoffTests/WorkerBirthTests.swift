import Testing

@testable import Handoff

@Suite("what a worker is told at birth")
struct WorkerBirthTests {
    @Test("what is encoded is read back", arguments: LoopKind.allCases, [0, 1023])
    func roundTrip(loop: LoopKind, slot: Int) {
        let birth = WorkerBirth(slot: slot, generation: .max, connectionsMax: 1, loop: loop)
        #expect(WorkerBirth(encoded: birth.encoded) == birth)
    }

    @Test(
        "anything else is refused: no supervisor wrote it",
        arguments: [
            "", ":", "yes", "1", "1:2", "1:2:3", "1:2:3:", "1:2:3:0", "1:2:3:kqueue", "1:2:3:epoll:", "1:2:3:epoll:5",
            "-1:2:3:epoll", "1:-2:3:epoll", "1:2:0:epoll", "1:2:-3:epoll", "1:4294967296:3:epoll", " 1:2:3:epoll",
            "1:2:3:epoll\n", "a:2:3:epoll",
        ])
    func refused(text: String) {
        #expect(WorkerBirth(encoded: text) == nil)
    }
}
