import CSocket
import Foundation
import Synchronization
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Event loop: wake-ups against its end")
struct WakeupTests {
    @Test(
        "threads that execute without pause while the loop ends: what was taken runs, and then all is refused (wake-up storm)",
        arguments: TransportMode.available)
    func storm(mode: TransportMode) throws {
        for round in 0..<50 {
            let thread = try LoopThread(mode)
            let taken = Atomic<Int>(0)
            let ran = Atomic<Int>(0)
            let refused = Recorder<Int>()
            for producer in 0..<3 {
                Thread.detachNewThread {
                    while thread.remote.execute({ _ in ran.add(1, ordering: .relaxed) }) {
                        taken.add(1, ordering: .relaxed)
                        // Not so fast that the queue is full, which is a refusal too.
                        if taken.load(ordering: .relaxed) - ran.load(ordering: .relaxed) > 10_000 { usleep(100) }
                    }
                    refused.record(producer)
                }
            }
            try eventually("tasks run") { ran.load(ordering: .relaxed) > round * 10 }
            try thread.join()
            try refused.wait { $0.count == 3 }
            #expect(taken.load(ordering: .sequentiallyConsistent) == ran.load(ordering: .sequentiallyConsistent))
        }
    }

    @Test(
        "a remote that outlives its loop keeps the wake-up's descriptor, so that no other's is written to",
        arguments: TransportMode.available)
    func remoteOutlivesLoop(mode: TransportMode) throws {
        let thread = try LoopThread(mode)
        let remote = thread.remote
        try thread.join()
        let others = try (0..<50).map { _ in try SystemError.check(csocket_eventfd(), "eventfd") }
        defer { for fd in others { close(fd) } }
        #expect(!others.contains(remote.wakeup.fd))
        for _ in 0..<1000 {
            remote.stop()
            remote.wakeup.signal()
            #expect(!remote.execute { _ in })
        }
        for fd in others {
            var entry = pollfd(fd: fd, events: Int16(POLLIN), revents: 0)
            #expect(poll(&entry, 1, 0) == 0, "somebody's eventfd was written to")
        }
    }

    @Test("stopped by many threads at once, again and again, the loop ends once", arguments: TransportMode.available)
    func stoppedByMany(mode: TransportMode) throws {
        for _ in 0..<50 {
            let thread = try LoopThread(mode)
            let done = Recorder<Int>()
            for index in 0..<4 {
                Thread.detachNewThread {
                    for _ in 0..<20 { thread.remote.stop() }
                    done.record(index)
                }
            }
            try thread.join()
            try done.wait { $0.count == 4 }
        }
    }
}
