import Foundation
import Glibc
import Synchronization
import Testing

@testable import Handoff

@Suite("Status page, both sides at once") struct StatusPageConcurrencyTests {
    /// What the two threads share besides the page: how far the supervisor has sent, and in the end what the worker did.
    private final class Course: Sendable {
        let sent = Atomic<UInt64>(0)
        let finished = Atomic<Bool>(false)
        let rejected = Mutex<[Range<UInt64>]>([])
        let steps = Atomic<Int>(0)
    }

    private static let connectionsMax: UInt64 = 2_000_000
    /// Enough for a time slice, where both threads share a processor.
    private static let inflightMax: UInt64 = 4_096
    private static let capacity: UInt32 = 1 << 21

    @Test("every rejection arrives once and in time, and credit errs to the safe side only, at every moment")
    func invariantsHold() throws {
        let page = try StatusPage.create(slot: 0)
        var supervisor = SupervisorPage(page)
        let workerDescriptor = duplicate(page.descriptor)
        let course = Course()
        let deadline = Date(timeIntervalSinceNow: 60)
        let workerDone = DispatchSemaphore(value: 0)
        Thread.detachNewThread {
            Self.work(descriptor: workerDescriptor, course: course, deadline: deadline)
            workerDone.signal()
        }

        var rejected: [Range<UInt64>] = []
        var rejectedCount: UInt64 = 0
        var sent: UInt64 = 0
        var readings = 0
        var violations = 0
        while Date() < deadline {
            let isLast = course.finished.load(ordering: .acquiring)
            let reading = try supervisor.read(sent: sent)
            readings += 1
            rejected += reading.rejected
            rejectedCount += reading.rejected.reduce(0) { $0 + UInt64($1.count) }
            supervisor.publish(released: reading.adopted)
            // The worker never closes a connection here, so live and credit are exact at each adoption.
            let kept = reading.adopted - rejectedCount
            if UInt64(reading.live) < kept || UInt64(reading.credit) > UInt64(Self.capacity) - kept { violations += 1 }
            if isLast { break }
            if sent - reading.adopted < Self.inflightMax && sent < Self.connectionsMax {
                sent = min(sent + 1 + sent % 16, Self.connectionsMax)
                course.sent.store(sent, ordering: .releasing)
            } else {
                sched_yield()
            }
        }
        #expect(workerDone.wait(timeout: .now() + 70) == .success)

        let final = try supervisor.read(sent: sent)
        #expect(final.adopted == Self.connectionsMax, "the course was run to its end")
        #expect(final.rejected == [])
        #expect(violations == 0, "in \(readings) readings")
        #expect(rejected == course.rejected.withLock { $0 })
        #expect(rejected.count > 1_000 && course.steps.load(ordering: .relaxed) >= 200_000)
    }

    /// Adopts or rejects whatever is sent, in runs of random length, until everything has been sent.
    private static func work(descriptor: Int32, course: Course, deadline: Date) {
        defer { course.finished.store(true, ordering: .releasing) }
        guard let page = try? StatusPage(owning: descriptor) else { return }
        let worker = WorkerPage(page)
        var random = SeededGenerator(seed: 0x57_4f_52_4b)
        var rejected: [Range<UInt64>] = []
        var live: UInt32 = 0
        var steps = 0
        while worker.adopted < connectionsMax, Date() < deadline {
            let adopted = worker.adopted
            let waiting = course.sent.load(ordering: .acquiring) - adopted
            guard waiting > 0 else {
                sched_yield()
                continue
            }
            let count = UInt64.random(in: 1...min(waiting, 16), using: &random)
            if Bool.random(using: &random) {
                guard worker.reject(Int(count)) else {
                    sched_yield()
                    continue
                }
                rejected.append(adopted..<adopted + count)
            } else {
                live += UInt32(count)
                worker.adopt(Int(count), live: live, credit: capacity - live)
            }
            steps += 1
        }
        course.rejected.withLock { $0 = rejected }
        course.steps.store(steps, ordering: .relaxed)
    }
}
