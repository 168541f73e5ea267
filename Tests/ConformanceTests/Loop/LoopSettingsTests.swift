import Foundation
import Synchronization
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Event loop: its settings")
struct LoopSettingsTests {
    private struct AlwaysPoll: SelectStrategy {
        func select(_ context: SelectContext) -> SelectDecision { .poll }
    }

    @Test(
        "a loop that busy-waits sees the tasks of other threads, and never sleeps",
        arguments: TransportMode.available)
    func busyWait(mode: TransportMode) throws {
        var configuration = mode.configuration
        configuration.selectStrategy = AlwaysPoll()
        let thread = try LoopThread(configuration)
        for index in 0..<200 { #expect(try thread.on { _ in index } == index) }
        #expect(try thread.on { $0.statistics.sleeps } == 0)
        try thread.join()
    }

    @Test(
        "each loop has a strategy of its own, though they share a configuration",
        arguments: TransportMode.available)
    func ownCopy(mode: TransportMode) throws {
        var configuration = mode.configuration
        configuration.selectStrategy = SpinThenBlock(for: .microseconds(20))
        let threads = try (0..<3).map { _ in try LoopThread(configuration) }
        for index in 0..<100 {
            for thread in threads { #expect(try thread.on { _ in index } == index) }
        }
        for thread in threads { try thread.join() }
    }

    @Test("a caller that waits gets its task in when the loop has made room", arguments: TransportMode.available)
    func wait(mode: TransportMode) throws {
        var configuration = mode.configuration
        configuration.tasks.countMax = 1
        configuration.tasks.rejection = .wait(retries: 1000, delay: .milliseconds(10))
        let thread = try LoopThread(configuration)
        let isHeld = Recorder<Bool>()
        let mayGo = DispatchSemaphore(value: 0)
        #expect(
            thread.remote.execute { _ in
                isHeld.record(true)
                mayGo.wait()
            })
        _ = try isHeld.next()
        #expect(thread.remote.execute { _ in })
        let hasBegun = Recorder<Bool>()
        let result = Recorder<Bool>()
        Thread.detachNewThread {
            hasBegun.record(true)
            result.record(thread.remote.execute { _ in })
        }
        _ = try hasBegun.next()
        mayGo.signal()
        #expect(try result.next())
        #expect(thread.remote.rejectedTaskCount == 0)
        try thread.join()
    }

    @Test("the loop's own thread does not wait for itself", arguments: TransportMode.available)
    func waitOnLoop(mode: TransportMode) throws {
        var configuration = mode.configuration
        configuration.tasks.countMax = 1
        configuration.tasks.rejection = .wait(retries: 1000, delay: .seconds(1))
        let thread = try LoopThread(configuration)
        // Would be a quarter of an hour.
        let answers = try thread.on { loop in [loop.remote.execute { _ in }, loop.remote.execute { _ in }] }
        #expect(answers == [true, false])
        try thread.join()
    }

    @Test("receives that find no buffer are reported", arguments: TransportMode.available)
    func exhausted(mode: TransportMode) throws {
        let reports = Recorder<EventLoopReport>()
        var configuration = mode.configuration
        configuration.receiveBuffers.count = 1
        configuration.receiveBuffers.size = 64
        configuration.report = { reports.record($0) }
        let server = try TestServer(.anyLoopback, configuration, setUp: RecordingConnection.echo)
        let peers = try (0..<10).map { _ in try Peer(connectingTo: server.address) }
        for peer in peers { try peer.send(pattern(5000)) }
        for peer in peers { #expect(try peer.receive(exactly: 5000) == pattern(5000)) }
        try reports.wait { $0.contains { $0.event == .receiveBuffersExhausted && $0.count > 0 } }
        try server.join()
    }
}
