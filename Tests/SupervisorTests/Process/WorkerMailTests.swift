import Glibc
import Handoff
import Testing
import Transport

@testable import Supervisor

@Suite("what workers send")
struct WorkerMailTests {
    private let ours: HandoffSocket
    private let theirs: HandoffSocket

    init() throws {
        (ours, theirs) = try HandoffSocket.pair()
        for socket in [ours, theirs] { socket.version = Packet.version }
    }

    private func offer(_ number: UInt32) throws {
        let descriptor = try SystemError.check(open("/dev/null", O_RDONLY | O_CLOEXEC), "open")
        defer { close(descriptor) }
        let record = ConnectionRecord(listener: 0, peer: .unix(path: ""), acceptedAt: MonotonicTime(nanoseconds: 1))
        let connection = MigratedConnection(record: record, socketCount: 1, state: [])
        #expect(theirs.send(offer: number, connection, fds: [descriptor]) == .sent)
    }

    private func talkNonsense() {
        let nonsense: [UInt8] = [255, 255, 255]
        #expect(send(theirs.descriptor, nonsense, nonsense.count, 0) == nonsense.count)
    }

    /// What is taken in one turn: the numbers of the offers at a time, and how often it was nonsense.
    private func take(isReaped: Bool) -> (offers: [[UInt32]], malformed: Int) {
        var offers: [[UInt32]] = []
        var malformed = 0
        let taker = WorkerMail.Taker(
            packet: { _, _ in false },
            offers: { batch in
                offers.append(batch.map(\.number))
                for descriptor in batch.flatMap(\.descriptors) { close(descriptor) }
            },
            malformed: { _ in malformed += 1 })
        _ = WorkerMail.take(from: ours, isReaped: isReaped, taker)
        return (offers, malformed)
    }

    @Test("what a dead worker offered is found behind nonsense and behind what it should not have said")
    func behindNonsense() throws {
        talkNonsense()
        #expect(theirs.send(.stop) == .sent)
        try offer(3)
        let taken = take(isReaped: true)
        #expect(taken.offers == [[3]] && taken.malformed == 1)
    }

    @Test("offers that wait together are taken together, a turn of them at most")
    func together() throws {
        for number in 0..<18 as Range<UInt32> { try offer(number) }
        #expect(take(isReaped: false).offers == [Array(0..<16)])
        #expect(take(isReaped: false).offers == [[16, 17]])
        #expect(take(isReaped: false).offers.isEmpty)
    }

    @Test("what a worker says behind its offers, such as that it is done, is taken before them")
    func order() throws {
        try offer(1)
        #expect(theirs.send(.drained(forced: 0)) == .sent)
        var order: [String] = []
        let taker = WorkerMail.Taker(
            packet: { packet, _ in
                order.append("\(packet)")
                return true
            },
            offers: { batch in
                order.append("offers")
                for descriptor in batch.flatMap(\.descriptors) { close(descriptor) }
            },
            malformed: { _ in Issue.record("nonsense") })
        #expect(!WorkerMail.take(from: ours, isReaped: false, taker))
        #expect(order == ["drained(forced: 0)", "offers"])
    }

    @Test("a living worker is not read on after nonsense")
    func alive() throws {
        try offer(1)
        talkNonsense()
        try offer(2)
        let taken = take(isReaped: false)
        #expect(taken.offers == [[1]] && taken.malformed == 1)
    }
}
