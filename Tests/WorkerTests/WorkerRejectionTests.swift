import Foundation
import Handoff
import Testing

@testable import Worker

@Suite(
    "worker process: a full descriptor table",
    .enabled(
        if: DescriptorTable.limit <= DescriptorTable.descriptorsMax, "RLIMIT_NOFILE is too high to fill a table"))
struct WorkerRejectionTests {
    @Test("connections whose descriptors do not fit are rejected in the page; the others are served")
    func rejects() throws {
        let isDone: Bool? = try DescriptorTable.withOwn {
            let worker = try WorkerThread.ready()
            let pairs = try (0..<4).map { _ in try ClientEnd.pair() }
            let taken = DescriptorTable.fill(leaving: 1)
            try worker.sendKeeping(pairs.prefix(3).map(\.served))
            try eventually("the packet to be taken") { worker.adopted == 3 }
            let reading = try worker.reading()
            #expect(reading.rejected == [1..<3])
            #expect(reading.live == 1)
            #expect(worker.count(.accepted) == 1)
            #expect(worker.count(.rejected) == 2)
            let served = try worker.service.state.wait(for: "the first") { !$0.served.isEmpty }.served
            #expect(served.map(\.listener) == [0])
            #expect(try pairs[0].client.byte() == 0)

            close(taken[0])
            try worker.sendKeeping([pairs[3].served])
            try worker.service.state.wait(for: "the next, for which there is room") { $0.served.count == 2 }
            #expect(try worker.reading().adopted == 4)
            worker.send(.stop)
            #expect(try worker.exitCode() == .success)
            return true
        }
        if isDone == nil { try Test.cancel("close_range(2) is missing or denied here") }
    }

    @Test("while the supervisor has not read its rejections it takes no more packets than it can reject")
    func waitsForTheReader() throws {
        let isDone: Bool? = try DescriptorTable.withOwn {
            let worker = try WorkerThread.ready()
            let pair = try ClientEnd.pair()
            _ = DescriptorTable.fill(leaving: 0)
            for _ in 0..<WorkerPage.rejectionsMax + 2 { try worker.sendKeeping([pair.served]) }
            try eventually("the page to be full") { worker.adopted == UInt64(WorkerPage.rejectionsMax) }
            // The worker looks every millisecond; it must not go on.
            usleep(20_000)
            #expect(worker.adopted == UInt64(WorkerPage.rejectionsMax))
            #expect(try worker.reading().rejected.count == WorkerPage.rejectionsMax)
            try eventually("the rest to be rejected") { worker.adopted == UInt64(WorkerPage.rejectionsMax + 2) }
            #expect(try worker.reading().rejected.count == 2)
            #expect(worker.count(.rejected) == UInt64(WorkerPage.rejectionsMax + 2))
            worker.send(.stop)
            #expect(try worker.exitCode() == .success)
            return true
        }
        if isDone == nil { try Test.cancel("close_range(2) is missing or denied here") }
    }
}
