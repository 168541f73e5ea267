import Testing

@testable import Handoff

@Suite("what a worker is told at birth")
struct WorkerBirthTests {
    @Test("what is encoded is read back", arguments: LoopKind.allCases, [[], [0], [5, 0, .max], Array(0..<4_096)])
    func roundTrip(loop: LoopKind, listeners: [UInt16]) {
        let birth = WorkerBirth(
            slot: 4_095, incarnation: .max, generation: .max - 1, connectionsMax: 1, loop: loop, listeners: listeners)
        #expect(WorkerBirth(encoded: birth.encoded) == birth)
    }

    @Test("each field has its place")
    func fields() {
        let birth = WorkerBirth(
            slot: 1, incarnation: 2, generation: 3, connectionsMax: 4, loop: .smallRing, listeners: [7, 6])
        #expect(birth.encoded == "1:2:3:4:io_uring-small:7,6")
    }

    @Test(
        "anything else is refused: no supervisor wrote it",
        arguments: [
            "", ":", "yes", "1", "1:2", "1:2:3:4", "1:2:3:4:", "1:2:3:4:epoll", "1:2:3:4:0:", "1:2:3:4:kqueue:",
            "1:2:3:4:epoll::", "1:2:3:4:epoll:5:", "-1:2:3:4:epoll:", "1:-2:3:4:epoll:", "1:2:-3:4:epoll:",
            "1:2:3:0:epoll:", "1:2:3:-4:epoll:", "1:4294967296:3:4:epoll:", "1:2:4294967296:4:epoll:",
            " 1:2:3:4:epoll:", "1:2:3:4:epoll:\n", "a:2:3:4:epoll:", "+1:2:3:4:epoll:", "01:2:3:4:epoll:",
            "1:2:3:4:epoll:,", "1:2:3:4:epoll:1,", "1:2:3:4:epoll:,1", "1:2:3:4:epoll:1,,2", "1:2:3:4:epoll:1,1",
            "1:2:3:4:epoll:65536", "1:2:3:4:epoll:-1", "1:2:3:4:epoll:1,a", "1:2:3:4:epoll:01",
            "1:2:3:4:epoll:" + (0...4_096).map(String.init).joined(separator: ","),
        ])
    func refused(text: String) {
        #expect(WorkerBirth(encoded: text) == nil)
    }
}
