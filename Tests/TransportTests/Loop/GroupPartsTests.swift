import Foundation
import Synchronization
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Event loop groups: choosers and failures")
struct GroupPartsTests {
    @Test("a thread's name fits what the kernel keeps: the number is never cut")
    func names() {
        #expect(GroupThread.name("loop", index: 3) == "loop-3")
        #expect(GroupThread.name("a-very-long-name", index: 12) == "a-very-long--12")
        #expect(GroupThread.name("ääääääää", index: 0) == "ääääää-0")
        #expect(GroupThread.name("", index: 7) == "-7")
    }

    // MARK: Least busy

    @Test("the loop that was least busy since the last look is chosen; equals take turns")
    func ranking() {
        var ranking = BusyRanking(interval: .milliseconds(100), charge: .milliseconds(1))
        var now = VirtualHandler.start
        #expect((0..<5).map { _ in ranking.choose(busy: [0, 9_000_000_000, 0], now: now) } == [0, 1, 2, 0, 1])
        now = now + .milliseconds(100)
        // Busy for 50, 0 and 3 of 100 ms: until the next look the third gets something after three charges of the second.
        let busy: [UInt64] = [50_000_000, 9_000_000_000, 3_000_000]
        #expect((0..<6).map { _ in ranking.choose(busy: busy, now: now) } == [1, 1, 1, 2, 1, 2])
        // All were idle for long: what they did before counts no more.
        now = now + .seconds(10)
        #expect(Set((0..<3).map { _ in ranking.choose(busy: busy, now: now) }) == [0, 1, 2])
    }

    @Test("a look after a longer time is scaled to the interval")
    func rankingScale() {
        var ranking = BusyRanking(interval: .milliseconds(100), charge: .milliseconds(1))
        _ = ranking.choose(busy: [0, 0], now: VirtualHandler.start)
        // Busy for 20 ms in 10 s is 0.2 ms per interval: less than one charge.
        let now = VirtualHandler.start + .seconds(10)
        let choices = (0..<4).map { _ in ranking.choose(busy: [20_000_000, 0], now: now) }
        #expect(choices == [1, 0, 1, 0])
    }

    @Test("a group of one has no choice to make")
    func one() {
        var ranking = BusyRanking(interval: .seconds(1), charge: .seconds(1))
        for _ in 0..<3 { #expect(ranking.choose(busy: [5], now: VirtualHandler.start) == 0) }
    }

    // MARK: The end

    @Test("a loop whose handler fails ends alone, and the group tells which and why")
    func failure() throws {
        let fails = SystemError("io_uring_enter", code: EBADF)
        let group = try EventLoopGroup(
            count: 2, name: "loop", chooser: RoundRobinChooser(),
            make: { index throws(SystemError) in
                let remote = try EventLoopRemote()
                let handler = FailingHandler(index == 1 ? fails : nil)
                return EventLoop(handler: handler, remote: remote, configuration: .init())
            }, start: GroupThread.start)
        try eventually("the second has ended") { !group.loops[1].execute { _ in } }
        #expect(group.loops[0].execute { _ in })
        group.stop()
        #expect(group.join() == [.success(0), .failure(fails)])
    }

    @Test("when the third loop cannot be made, those before it are given back and the reason is thrown")
    func makingFails() throws {
        let handlers = (0..<2).map { _ in FailingHandler(nil) }
        let error = #expect(throws: SystemError.self) {
            try EventLoopGroup(
                count: 5, name: "loop", chooser: RoundRobinChooser(),
                make: { index throws(SystemError) in
                    if index == 2 { throw SystemError("io_uring_setup", code: ENOMEM) }
                    return EventLoop(
                        handler: handlers[index], remote: try EventLoopRemote(), configuration: .init())
                }, start: { _ in preconditionFailure("started before all were made") })
        }
        #expect(error == SystemError("io_uring_setup", code: ENOMEM))
        #expect(handlers.map(\.destroyed) == [1, 1])
    }

    @Test("when the third thread cannot be started, the two that run are stopped and waited for")
    func startingFails() throws {
        let handlers = (0..<4).map { _ in FailingHandler(nil) }
        var started = 0
        let error = #expect(throws: SystemError.self) {
            try EventLoopGroup(
                count: 4, name: "loop", chooser: RoundRobinChooser(),
                make: { index throws(SystemError) in
                    EventLoop(handler: handlers[index], remote: try EventLoopRemote(), configuration: .init())
                },
                start: { thread throws(SystemError) in
                    if started == 2 { throw SystemError("pthread_create", code: EAGAIN) }
                    started += 1
                    return try GroupThread.start(thread)
                })
        }
        #expect(error == SystemError("pthread_create", code: EAGAIN))
        #expect(started == 2 && handlers.map(\.destroyed) == [1, 1, 1, 1])
    }

    /// Sleeps a little in each run, or fails.
    private final class FailingHandler: IOHandler {
        private let error: SystemError?
        private(set) var destroyed = 0
        let receiveBuffers: ReceiveBuffers
        let overflowCount: UInt64 = 0
        let shortageCount: UInt64 = 0

        init(_ error: SystemError?) {
            self.error = error
            receiveBuffers = VirtualHandler().receiveBuffers
        }

        func enable() {}
        func submit(_ submissions: UnsafeBufferPointer<Submission>) -> Int { submissions.count }
        func run(
            until deadline: MonotonicTime?, into batch: UnsafeMutableBufferPointer<Completion>
        ) throws(SystemError) -> Int {
            if let error { throw error }
            usleep(100)
            return 0
        }
        func handle(_ completion: Completion) {}
        func giveBuffers(_ ids: UnsafeBufferPointer<UInt16>, size: Int) {}
        func forget(_ id: RegistrationID) {}
        func destroy() { destroyed += 1 }
    }
}
