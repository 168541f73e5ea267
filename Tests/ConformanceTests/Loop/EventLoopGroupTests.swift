import Foundation
import Synchronization
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Event loop groups")
struct EventLoopGroupTests {
    /// What each loop of a group answers.
    private static func ask<Value: Sendable>(
        _ group: EventLoopGroup, _ question: @escaping @Sendable (EventLoop) -> Value
    ) throws -> [Value] {
        try group.loops.map { loop in
            let answer = Recorder<Value>()
            #expect(loop.execute { answer.record(question($0)) })
            return try answer.next()
        }
    }

    private static func isSuccess(_ ends: [EventLoopGroup.End]) -> Bool { ends.allSatisfy { $0 == .success(0) } }

    private static func index(_ loop: EventLoopRemote, _ group: EventLoopGroup) -> Int {
        group.loops.firstIndex { $0 === loop } ?? -1
    }

    @Test(
        "each loop has a thread of its own, named after the group, and all end together",
        arguments: TransportMode.available)
    func threads(mode: TransportMode) throws {
        let group = try EventLoopGroup(count: 4, configuration: mode.configuration, name: "ring-loops")
        let threads = try Self.ask(group) { _ in pthread_self() }
        #expect(Set(threads).count == 4 && !threads.contains(pthread_self()))
        let names = try Self.ask(group) { _ in try? String(contentsOfFile: "/proc/thread-self/comm", encoding: .utf8) }
        #expect(names == (0..<4).map { "ring-loops-\($0)\n" })
        group.stop()
        #expect(Self.isSuccess(group.join()) && group.join().count == 4)
        for loop in group.loops { #expect(!loop.execute { _ in }) }
    }

    @Test("loops are chosen one after the other, from many threads too", arguments: TransportMode.available)
    func roundRobin(mode: TransportMode) throws {
        let group = try EventLoopGroup(count: 3, configuration: mode.configuration)
        #expect((0..<6).map { _ in Self.index(group.next(), group) } == [0, 1, 2, 0, 1, 2])
        let counts = Mutex([Int](repeating: 0, count: 3))
        DispatchQueue.concurrentPerform(iterations: 300) { _ in
            let index = Self.index(group.next(), group)
            counts.withLock { $0[index] += 1 }
        }
        #expect(counts.withLock { $0 } == [100, 100, 100])
        group.stop()
        #expect(Self.isSuccess(group.join()))
    }

    @Test("a chooser of one's own decides", arguments: TransportMode.available)
    func ownChooser(mode: TransportMode) throws {
        struct Last: EventLoopChooser {
            func choose(_ loops: [EventLoopRemote]) -> Int { loops.count - 1 }
        }
        let group = try EventLoopGroup(count: 3, configuration: mode.configuration, chooser: Last())
        #expect((0..<3).map { _ in Self.index(group.next(), group) } == [2, 2, 2])
        group.stop()
        group.join()
    }

    @Test("a loop that is held busy is avoided", arguments: TransportMode.available)
    func leastBusy(mode: TransportMode) throws {
        let group = try EventLoopGroup(
            count: 2, configuration: mode.configuration,
            chooser: LeastBusyChooser(interval: .milliseconds(20), charge: .microseconds(1)))
        let mayEnd = Mutex(false)
        @Sendable func spin(_ loop: EventLoop) {
            let end = MonotonicTime.now + .milliseconds(1)
            while .now < end {}
            if !mayEnd.withLock({ $0 }) { loop.remote.execute(spin) }
        }
        group.loops[0].execute(spin)
        try eventually("20 choices in a row of the idle loop") {
            (0..<20).allSatisfy { _ in group.next() === group.loops[1] }
        }
        mayEnd.withLock { $0 = true }
        group.stop()
        #expect(Self.isSuccess(group.join()))
    }

    @Test("the end is told once, by whoever comes before it and after it", arguments: TransportMode.available)
    func whenTerminated(mode: TransportMode) throws {
        let group = try EventLoopGroup(count: 3, configuration: mode.configuration)
        let told = Recorder<[EventLoopGroup.End]>()
        group.whenTerminated { told.record($0) }
        group.loops[0].stop()
        group.loops[1].stop()
        // Two of three: not yet.
        try eventually("two have ended") { !group.loops[0].execute { _ in } && !group.loops[1].execute { _ in } }
        #expect(told.all.isEmpty)
        group.stop()
        #expect(Self.isSuccess(try told.next()))
        group.join()
        group.whenTerminated { told.record($0) }
        #expect(Self.isSuccess(try told.next()) && told.all.isEmpty)
    }

    @Test(
        "a graceful shutdown goes to all loops; each still takes tasks meanwhile",
        arguments: TransportMode.available)
    func graceful(mode: TransportMode) throws {
        let group = try EventLoopGroup(count: 3, configuration: mode.configuration)
        group.shutdownGracefully(quietPeriod: .milliseconds(300), timeout: .seconds(20))
        #expect(try Self.ask(group) { $0.isCurrent } == [true, true, true])
        #expect(Self.isSuccess(group.join()))
    }

    @Test("many threads may wait for the end", arguments: TransportMode.available)
    func joinedByMany(mode: TransportMode) throws {
        let group = try EventLoopGroup(count: 2, configuration: mode.configuration)
        let joined = Recorder<Int>()
        for _ in 0..<4 { Thread.detachNewThread { joined.record(group.join().count) } }
        group.stop()
        #expect(try joined.wait { $0.count == 4 } == [2, 2, 2, 2])
    }

    @Test("a group that is dropped stops its loops", arguments: TransportMode.available)
    func dropped(mode: TransportMode) throws {
        let ended = Recorder<[EventLoopGroup.End]>()
        do { try EventLoopGroup(count: 2, configuration: mode.configuration).whenTerminated { ended.record($0) } }
        #expect(Self.isSuccess(try ended.next()))
    }
}
