import Foundation
import Handoff
import Testing
import Transport

@testable import Supervisor

@Suite("what workers must be told")
struct NoticeQueueTests {
    private let start = MonotonicTime(nanoseconds: 1_000_000_000)

    @Test(
        "what a full socket does not take is told later, in order, with the time that is left then, in another program too"
    )
    func later() throws {
        let (ours, theirs) = try HandoffSocket.pair()
        for socket in [ours, theirs] { socket.version = Packet.version }
        var filling = 0
        while ours.send(.offerRefused(number: 99)) == .sent { filling += 1 }
        var queue = NoticeQueue()
        let notices: [NoticeQueue.Notice] = [
            .offerRefused(number: 7), .drain(cutAt: start + .seconds(59), migrationsPerSecond: 5), .stop,
        ]
        for notice in notices { _ = queue.append(notice) }
        queue.flush(now: start) { ours.send($0) }
        #expect(!queue.isEmpty)
        for _ in 0..<filling { _ = theirs.receive() }
        #expect(theirs.receive() == .empty)
        queue = try JSONDecoder().decode(NoticeQueue.self, from: JSONEncoder().encode(queue))
        queue.flush(now: start + .seconds(4)) { ours.send($0) }
        #expect(queue.isEmpty)
        let told: [Packet] = [
            .offerRefused(number: 7), .drain(milliseconds: 55_000, migrationsPerSecond: 5), .stop,
        ]
        for packet in told {
            #expect(theirs.receive() == .packet(packet, fds: [], fdsTruncated: false))
        }
    }

    @Test("a drain that is told too late leaves no time; a worker that is gone is told nothing")
    func tooLate() {
        var queue = NoticeQueue()
        _ = queue.append(.drain(cutAt: start, migrationsPerSecond: 0))
        _ = queue.append(.stop)
        var told: [Packet] = []
        queue.flush(now: start + .seconds(1)) {
            told.append($0)
            return .peerGone
        }
        #expect(told == [.drain(milliseconds: 0, migrationsPerSecond: 0)] && queue.isEmpty)
    }

    @Test("the queue is bounded")
    func bounded() {
        var queue = NoticeQueue()
        let added = (0...NoticeQueue.countMax).map { _ in queue.append(.stop) }
        #expect(added.firstIndex(of: false) == NoticeQueue.countMax)
    }
}
