import Dispatch
import NIOCore
import NIOPosix
import RingmasterNIO
import Testing

import enum Transport.TransportKind

@testable import TransportTesting

@Suite("Event loop group", .timeLimit(.minutes(1)))
struct GroupTests {
    @Test("next() has the loops in turn, and the iterator each once", arguments: TransportKind.here)
    func next(kind: TransportKind) async throws {
        try await withRingGroup(kind, count: 3) { group in
            let loops = Array(group.makeIterator())
            #expect(loops.count == 3 && group.loops.count == 3)
            #expect(zip(loops, group.loops).allSatisfy { $0 === $1 })
            let round = (0..<6).map { _ in group.next() }
            #expect((0..<3).allSatisfy { round[$0] === round[$0 + 3] })
            #expect(Set(round.map { ObjectIdentifier($0) }) == Set(loops.map { ObjectIdentifier($0) }))
        }
    }

    @Test(
        "any() is the loop that asks if it is of the group, and not if it is of another", arguments: TransportKind.here)
    func any(kind: TransportKind) async throws {
        try await withRingGroup(kind, count: 3) { group in
            try await withRingGroup(kind, count: 2) { others in
                for loop in group.loops {
                    let (own, other) = try await loop.submit { (group.any(), others.any()) }.get()
                    #expect(own === loop)
                    #expect(others.loops.contains { $0 === other })
                }
                let outside = group.any()
                #expect(group.loops.contains { $0 === outside })
            }
        }
    }

    @Test("a loop is a group of itself", arguments: TransportKind.here)
    func loneGroup(kind: TransportKind) async throws {
        try await withRingGroup(kind, count: 2) { group in
            let loop = group.loops[1]
            #expect(loop.next() === loop && loop.any() === loop)
            let own = Array(loop.makeIterator())
            #expect(own.count == 1 && own[0] === loop)
            #expect(NIOEventLoopGroupProvider.shared(group).isShared(with: group))
        }
    }

    @Test("a loop of a group does not shut down by itself", arguments: TransportKind.here)
    func loopRefuses(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            await #expect(throws: EventLoopError.unsupportedOperation) {
                try await group.loops[0].shutdownGracefully()
            }
            try await expect(group.loops[0].submit { 1 }, is: 1)
        }
    }

    @Test("the singleton is one, of as many loops as there are cores, and does not shut down")
    func singleton() async throws {
        let group = RingEventLoopGroup.singleton
        #expect(group === RingEventLoopGroup.singleton)
        #expect(group.loops.count == System.coreCount)
        await #expect(throws: EventLoopError.unsupportedOperation) { try await group.shutdownGracefully() }
        try await expect(group.next().submit { 1 }, is: 1)
    }

    @Test(
        "a group that nobody refers to goes on, as long as its loops are not told to end", arguments: TransportKind.here
    )
    func forgotten(kind: TransportKind) async throws {
        weak var forgotten: RingEventLoopGroup?
        let loop: any NIOCore.EventLoop
        do {
            let group = try RingEventLoopGroup(numberOfThreads: 2, transport: kind == .epoll ? .epoll : .ioUring)
            forgotten = group
            loop = group.next()
            try await expect(loop.submit { 1 }, is: 1)
        }
        try await loop.scheduleTask(in: .milliseconds(5)) {}.futureResult.get()
        try await forgotten?.shutdownGracefully()
        try eventually { forgotten == nil }
    }

    @Test("a group and its loops are let go of when it has ended", arguments: TransportKind.here)
    func released(kind: TransportKind) async throws {
        weak var group: RingEventLoopGroup?
        weak var loop: RingEventLoop?
        try await withRingGroup(kind, count: 2) {
            group = $0
            loop = $0.loops[0]
            // What may have cycles: the succeeded future, timers that ran, timers that did not, tasks, jobs.
            let first = $0.loops[0]
            _ = try await first.submit { first.makeSucceededVoidFuture() }.get()
            try await first.scheduleTask(in: .milliseconds(1)) {}.futureResult.get()
            _ = first.scheduleTask(in: .hours(1)) {}
            await Task(executorPreference: first.taskExecutor) { await Task.yield() }.value
        }
        try eventually { group == nil && loop == nil }
    }

    @Test("the loop's precondition about its thread holds there, and fails elsewhere")
    func preconditions() async {
        await #expect(processExitsWith: .success) {
            let group = try RingEventLoopGroup(numberOfThreads: 1, transport: .epoll)
            try await group.next().submit { group.next().preconditionInEventLoop() }.get()
            group.next().preconditionNotInEventLoop()
            try await group.shutdownGracefully()
        }
        await #expect(processExitsWith: .failure) {
            let group = try RingEventLoopGroup(numberOfThreads: 1, transport: .epoll)
            group.next().preconditionInEventLoop()
        }
    }

    @Test("bootstraps take groups and loops of this module, and no others", arguments: TransportKind.here)
    func bootstraps(kind: TransportKind) async throws {
        try await withRingGroup(kind) { group in
            let others = MultiThreadedEventLoopGroup.singleton
            #expect(RingServerBootstrap(validatingGroup: group) != nil)
            #expect(RingServerBootstrap(validatingGroup: group.next()) != nil)
            #expect(RingServerBootstrap(validatingGroup: group, childGroup: group.next()) != nil)
            #expect(RingServerBootstrap(validatingGroup: others) == nil)
            #expect(RingServerBootstrap(validatingGroup: others.next()) == nil)
            #expect(RingServerBootstrap(validatingGroup: others, childGroup: group) == nil)
            #expect(RingServerBootstrap(validatingGroup: group, childGroup: others) == nil)
            #expect(RingClientBootstrap(validatingGroup: group) != nil)
            #expect(RingClientBootstrap(validatingGroup: group.next()) != nil)
            #expect(RingClientBootstrap(validatingGroup: others) == nil)
            #expect(RingClientBootstrap(validatingGroup: others.next()) == nil)
        }
    }

    @Test("a bootstrap without validation does not survive another's group")
    func bootstrapsOfOthers() async {
        let server = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
            _ = RingServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
        }
        #expect(standardError(server).contains("RingServerBootstrap needs"))
        let client = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
            _ = RingClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
        }
        #expect(standardError(client).contains("RingClientBootstrap needs"))
    }
}

extension NIOEventLoopGroupProvider {
    fileprivate func isShared(with group: any EventLoopGroup) -> Bool {
        if case .shared(let shared) = self { shared === group } else { false }
    }
}
