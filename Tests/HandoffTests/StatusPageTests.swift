import CSocket
import Glibc
import Synchronization
import Testing
import Transport

@testable import Handoff

@Suite("Status page") struct StatusPageTests {
    private var supervisor: SupervisorPage
    private let worker: WorkerPage

    init() throws {
        let page = try StatusPage.create(slot: 3)
        supervisor = SupervisorPage(page)
        worker = WorkerPage(try StatusPage(owning: duplicate(page.descriptor)))
    }

    @Test("a new page says that nothing is adopted and nothing can be taken")
    mutating func newPage() throws {
        let reading = try supervisor.read(sent: 0)
        #expect(
            reading
                == PageReading(
                    adopted: 0, rejected: [], live: 0, credit: 0, heartbeat: MonotonicTime(nanoseconds: 0),
                    busyNanoseconds: 0))
        #expect(worker.adopted == 0 && worker.released == 0 && worker.canReject)
    }

    @Test("what one side writes the other reads through its own mapping")
    mutating func twoMappings() throws {
        worker.adopt(5, live: 7, credit: 90)
        worker.beat(at: MonotonicTime(nanoseconds: 123), busyNanoseconds: 45)
        let reading = try supervisor.read(sent: 9)
        #expect(
            reading
                == PageReading(
                    adopted: 5, rejected: [], live: 7, credit: 90, heartbeat: MonotonicTime(nanoseconds: 123),
                    busyNanoseconds: 45))
        supervisor.publish(released: 4)
        #expect(worker.released == 4)
        #expect(worker.copies.isGone(3) && !worker.copies.isGone(4))
        worker.publish(live: 6, credit: 91)
        let next = try supervisor.read(sent: 9)
        #expect(next.live == 6 && next.credit == 91 && next.adopted == 5)
    }

    @Test("each counter has a place of its own, and counters outlive the worker and its mapping")
    mutating func counters() throws {
        do {
            let mortal = WorkerPage(try StatusPage(owning: duplicate(supervisor.page.descriptor)))
            for counter in Counter.allCases { mortal.add(UInt64(counter.rawValue) + 1, to: counter) }
        }
        for counter in Counter.allCases { #expect(supervisor.count(counter) == UInt64(counter.rawValue) + 1) }
        supervisor.reset()
        worker.add(10, to: .accepted)
        #expect(supervisor.count(.accepted) == 11, "a slot's next worker counts on")
    }

    @Test("a counter keeps its place from version to version of the page: new ones come last")
    func counterPlaces() {
        #expect(Counter.upstreamConnectFailures.rawValue == 9)
        #expect([Counter.migratedAway, .migratedHere, .migrationsRefused].map(\.rawValue) == [10, 11, 12])
        #expect(PageLayout.workerEnd <= PageLayout.supervisorStart)
    }

    @Test("after a reset the page is a new worker's, whatever the last one left")
    mutating func resetForNextWorker() throws {
        worker.adopt(4, live: 4, credit: 1)
        #expect(worker.reject(2))
        worker.beat(at: .now, busyNanoseconds: 1)
        _ = try supervisor.read(sent: 6)
        supervisor.publish(released: 4)
        supervisor.reset()
        try newPage()
        #expect(worker.reject(1))
        #expect(try supervisor.read(sent: 1).rejected == [0..<1])
    }

    @Test("a rejection is reported once, in order, with the reading that passes it")
    mutating func rejections() throws {
        worker.adopt(3, live: 3, credit: 0)
        #expect(worker.reject(13))
        #expect(worker.reject(1))
        worker.adopt(1, live: 4, credit: 0)
        #expect(worker.reject(16))
        #expect(try supervisor.read(sent: 40).rejected == [3..<16, 16..<17, 18..<34])
        let second = try supervisor.read(sent: 40)
        #expect(second.rejected == [] && second.adopted == 34)
    }

    @Test("the ring takes 16 rejections that the supervisor has not seen, and more when it has")
    mutating func fullRing() throws {
        for round in 0..<UInt64(5) {
            for _ in 0..<WorkerPage.rejectionsMax {
                #expect(worker.canReject)
                #expect(worker.reject(1))
            }
            #expect(!worker.canReject)
            #expect(!worker.reject(1))
            #expect(worker.adopted == 16 * (round + 1), "a refused rejection passes over nothing")
            #expect(try supervisor.read(sent: .max).rejected == (16 * round..<16 * (round + 1)).map { $0..<$0 + 1 })
        }
    }

    @Test("a rejection written after adopted was read waits for the next reading")
    mutating func rejectionNotDue() throws {
        worker.adopt(2, live: 2, credit: 0)
        write(first: 2, count: 3, at: 0)
        set(PageLayout.rejectionsWritten, 1)
        #expect(try supervisor.read(sent: 9).rejected == [])
        set(PageLayout.adopted, 5)
        #expect(try supervisor.read(sent: 9).rejected == [2..<5])
    }

    @Test("live and credit are bounded, whatever the worker claims")
    mutating func bounds() throws {
        set(PageLayout.live, .max)
        set(PageLayout.credit, UInt64(SupervisorPage.connectionsMax) + 1)
        let reading = try supervisor.read(sent: 0)
        #expect(reading.live == SupervisorPage.connectionsMax && reading.credit == SupervisorPage.connectionsMax)
    }

    @Test("adopted that goes back or beyond what was sent is corrupt")
    mutating func corruptAdopted() throws {
        set(PageLayout.adopted, 5)
        expectCorrupt(.adoptedBeyondSent(adopted: 5, sent: 4), sent: 4)
        _ = try supervisor.read(sent: 5)
        set(PageLayout.adopted, 4)
        expectCorrupt(.adoptedWentBack(from: 5, to: 4), sent: 5)
        set(PageLayout.adopted, .max)
        expectCorrupt(.adoptedBeyondSent(adopted: .max, sent: 5), sent: 5)
    }

    @Test("more rejections than the ring holds, or fewer than before, are corrupt")
    mutating func corruptRejectionCount() throws {
        worker.adopt(20, live: 20, credit: 0)
        for written: UInt64 in [17, .max] {
            set(PageLayout.rejectionsWritten, written)
            expectCorrupt(.rejectionCount(written: written, seen: 0), sent: 20)
        }
        set(PageLayout.rejectionsWritten, 0)
        #expect(worker.reject(1))
        _ = try supervisor.read(sent: 21)
        set(PageLayout.rejectionsWritten, 0)
        expectCorrupt(.rejectionCount(written: 0, seen: 1), sent: 21)
    }

    @Test(
        "a rejected range that is empty, too long, adopted earlier or reaching past adopted is corrupt",
        arguments: [(12, 0), (12, 17), (12, UInt64.max), (9, 1), (0, 16), (39, 2), (25, 16)] as [(UInt64, UInt64)])
    mutating func corruptRange(first: UInt64, count: UInt64) throws {
        set(PageLayout.adopted, 10)
        _ = try supervisor.read(sent: 10)
        set(PageLayout.adopted, 40)
        write(first: first, count: count, at: 0)
        set(PageLayout.rejectionsWritten, 1)
        expectCorrupt(.rejectedRange(first: first, count: count, expected: 10..<40), sent: 40)
    }

    @Test("a rejected range that just fits is read", arguments: [(10, 1), (24, 16), (39, 1)] as [(UInt64, UInt64)])
    mutating func rangeAtTheEdge(first: UInt64, count: UInt64) throws {
        set(PageLayout.adopted, 10)
        _ = try supervisor.read(sent: 10)
        set(PageLayout.adopted, 40)
        write(first: first, count: count, at: 0)
        set(PageLayout.rejectionsWritten, 1)
        #expect(try supervisor.read(sent: 40).rejected == [first..<first + count])
    }

    @Test("rejected ranges that overlap or descend are corrupt")
    mutating func corruptOrder() throws {
        set(PageLayout.adopted, 40)
        set(PageLayout.rejectionsWritten, 2)
        write(first: 20, count: 4, at: 0)
        for first: UInt64 in [20, 23, 10] {
            write(first: first, count: 1, at: 1)
            expectCorrupt(.rejectedRange(first: first, count: 1, expected: 24..<40), sent: 40)
        }
        write(first: 24, count: 1, at: 1)
        #expect(try supervisor.read(sent: 40).rejected == [20..<24, 24..<25], "a failed reading takes nothing away")
    }

    @Test("what the worker scribbles over the supervisor's half does not change what the supervisor reads")
    mutating func scribbledSupervisorHalf() throws {
        #expect(worker.reject(1))
        for word in PageLayout.supervisorStart..<PageLayout.wordCount { set(word, .max) }
        #expect(try supervisor.read(sent: 1).rejected == [0..<1])
        #expect(try supervisor.read(sent: 1).rejected == [])
    }

    @Test("random pages are read or refused, never trapped on, and what is read is within bounds")
    mutating func randomPages() throws {
        var random = SeededGenerator(seed: 0x50_41_47_45)
        var good = 0
        var refused = 0
        for _ in 0..<20_000 {
            supervisor.reset()
            set(PageLayout.adopted, .random(in: 0...40, using: &random))
            set(PageLayout.rejectionsWritten, .random(in: 0...18, using: &random))
            var next: UInt64 = 0
            for entry in 0..<PageLayout.rejectionsMax {
                let wild = Int.random(in: 0..<30, using: &random) == 0
                let count = wild ? random.next() : .random(in: 1...4, using: &random)
                write(first: wild ? random.next() : next, count: count, at: entry)
                next = next &+ count &+ UInt64.random(in: 0...2, using: &random)
            }
            do {
                let reading = try supervisor.read(sent: 32)
                good += 1
                #expect(reading.adopted <= 32)
                var lowest: UInt64 = 0
                for range in reading.rejected {
                    #expect(range.lowerBound >= lowest && !range.isEmpty && range.upperBound <= reading.adopted)
                    lowest = range.upperBound
                }
            } catch {
                refused += 1
            }
        }
        #expect(good > 1_000 && refused > 1_000, "\(good) good, \(refused) refused")
    }

    @Test("a memfd of another size, and what is no memfd, are refused and closed")
    func refusedDescriptors() {
        let small = csocket_memfd("handoff-test", 8)
        #expect(throws: HandoffError(call: "status page size", errno: EINVAL)) { try StatusPage(owning: small) }
        #expect(throws: HandoffError(call: "fstat", errno: EBADF)) { try StatusPage(owning: -1) }
    }

    @Test("the fields of each side are on cache lines of their own, inside the page, and do not overlap")
    func layout() {
        #expect(MemoryLayout<Atomic<UInt64>>.size == 8 && MemoryLayout<Atomic<UInt64>>.stride == 8)
        #expect(PageLayout.wordCount * 8 == StatusPage.size)
        let handoff = [
            PageLayout.adopted, PageLayout.live, PageLayout.credit, PageLayout.rejectionsWritten, PageLayout.heartbeat,
            PageLayout.busyNanoseconds,
        ]
        #expect(Set(handoff).count == handoff.count)
        #expect(handoff.allSatisfy { $0 < PageLayout.rejections })
        #expect(PageLayout.rejections * 8 == 64)
        #expect(PageLayout.counters == PageLayout.rejections + 2 * 16)
        #expect(PageLayout.counters * 8 % 64 == 0)
        #expect(PageLayout.workerEnd <= PageLayout.supervisorStart)
        #expect(PageLayout.supervisorStart * 8 % 64 == 0)
        #expect(PageLayout.supervisorEnd <= PageLayout.wordCount)
        #expect(PageLayout.released != PageLayout.rejectionsSeen)
        #expect((0..<32).map { PageLayout.rejection($0) } == (0..<32).map { 8 + 2 * ($0 % 16) })
    }

    private mutating func expectCorrupt(_ corruption: PageCorruption, sent: UInt64) {
        #expect(throws: corruption) { try supervisor.read(sent: sent) }
    }

    /// Writes what an honest worker would not.
    private func set(_ word: Int, _ value: UInt64) {
        worker.page.words[word].store(value, ordering: .releasing)
    }

    private func write(first: UInt64, count: UInt64, at entry: Int) {
        set(PageLayout.rejections + 2 * entry, first)
        set(PageLayout.rejections + 2 * entry + 1, count)
    }
}

/// A copy of a descriptor, close-on-exec.
func duplicate(_ fd: Int32) -> Int32 { fcntl(fd, F_DUPFD_CLOEXEC, 0) }
