import Glibc
import NIOCore
import Synchronization
import Testing

@testable import RingmasterNIO
@testable import Transport
@testable import TransportTesting

@Suite("A stream channel's life")
struct StreamLifeTests {
    @Test("An accepted channel is registered, active, reads, and ends in that order", arguments: streamTransports)
    func orderAccepted(transport: TransportKind) async throws {
        try await withAccepted(transport) { it async throws in
            try await it.peer.send("hello")
            try await it.journal.wait(for: "readComplete")
            it.peer.close()
            try await it.journal.wait(for: "removed")
            #expect(
                it.journal.events == [
                    "registered", "active", "read 5", "readComplete", "readComplete", "inactive", "unregistered",
                    "removed",
                ])
        }
    }

    @Test("A connecting channel is registered, its promise kept, then active", arguments: streamTransports)
    func orderConnecting(transport: TransportKind) async throws {
        try await withRingGroup(transport) { group async throws in
            let plain = try PlainListener()
            let journal = Journal()
            let loop = group.loops[0]
            let channel = RingStreamChannel(loop, fd: try Socket.stream(AF_INET))
            let connected = try await loop.submit {
                try channel.pipeline.syncOperations.addHandler(Spy(journal))
                let promise = channel.eventLoop.makePromise(of: Void.self)
                promise.futureResult.whenComplete { _ in
                    journal.note("connected \(channel.isActive) \(channel.remoteAddress == plain.address)")
                }
                let registered = channel.eventLoop.makePromise(of: Void.self)
                registered.futureResult.whenComplete { _ in journal.note("registered promise") }
                channel.register(promise: registered)
                channel.connect(to: plain.address, promise: promise)
                return promise.futureResult
            }.get()
            try await outcome(connected).get()
            try await journal.wait(for: "active")
            #expect(journal.events == ["registered promise", "registered", "connected true true", "active"])
            _ = try await plain.accept()
        }
    }

    @Test(
        "The write promises fail, the pipeline hears of the end, then close's promise, then the close future",
        arguments: streamTransports)
    func orderOfClose(transport: TransportKind) async throws {
        try await withAccepted(transport) { it async throws in
            let (channel, journal) = (it.channel, it.journal)
            try await it.onLoop {
                channel.closeFuture.whenComplete { _ in journal.note("close future \(channel.localAddress == nil)") }
                channel.holding(ByteBuffer(string: "never flushed")).whenFailure { journal.note("write \($0)") }
                channel.close().whenSuccess { journal.note("closed \(channel.isActive)") }
                journal.note("after close")
            }
            try await soon("the close future") { journal.events.last?.hasPrefix("close future") == true }
            #expect(
                journal.events.dropFirst(2) == [
                    "write I/O on closed channel", "inactive", "unregistered", "after close", "closed false", "removed",
                    "close future false",
                ])
            #expect(channel.localAddress == nil && channel.remoteAddress == nil)
            #expect(try await it.peer.receive().isEmpty)
        }
    }

    @Test("The addresses are known until the handlers are gone", arguments: streamTransports)
    func addressesAtTheEnd(transport: TransportKind) async throws {
        let seen = Recorder<Bool>()
        try await withAccepted(transport) {
            $0
        } spy: { spy in
            for event in ["inactive", "unregistered", "removed"] {
                spy.on[event] = {
                    seen.record($0.channel.localAddress != nil && $0.channel.remoteAddress != nil)
                }
            }
        } _: { it async throws in
            it.peer.close()
            try await it.journal.wait(for: "removed")
        }
        #expect(seen.all == [true, true, true])
    }

    @Test(
        "It may be closed in every callback; only the first close counts",
        arguments: across(
            streamTransports,
            ["registered", "active", "read", "readComplete", "inactive", "unregistered", "removed"]))
    func closeInCallback(transport: TransportKind, event: String) async throws {
        let results = Recorder<String>()
        try await withAccepted(transport) {
            $0
        } spy: { spy in
            spy.on[event] = { context in
                for _ in 0..<2 {
                    context.channel.close().whenComplete { result in
                        if case .failure(let error) = result {
                            results.record("\(error)")
                        } else {
                            results.record("")
                        }
                    }
                }
            }
        } _: { it async throws in
            try? await it.peer.send("x")
            it.peer.finishOutput()
            try await it.journal.wait(for: "removed")
            try await outcome(it.channel.closeFuture).get()
            try await soon("both results") { results.all.count >= 2 }
            let isFirst = ["registered", "active", "read", "readComplete"].contains(event)
            #expect(results.all.sorted() == [isFirst ? "" : "Already closed", "Already closed"])
            #expect(it.journal.count("unregistered") == 1 && it.journal.count("removed") == 1)
            #expect(it.journal.count("inactive") == it.journal.count("active"))
        }
    }

    @Test("Closed in the promise of its connecting, it was never active for its handlers", arguments: streamTransports)
    func closeInConnectPromise(transport: TransportKind) async throws {
        try await withRingGroup(transport) { group async throws in
            let plain = try PlainListener()
            let journal = Journal()
            let loop = group.loops[0]
            let channel = RingStreamChannel(loop, fd: try Socket.stream(AF_INET))
            try await loop.submit {
                try channel.pipeline.syncOperations.addHandler(Spy(journal))
                channel.register(promise: nil)
                let promise = channel.eventLoop.makePromise(of: Void.self)
                promise.futureResult.whenSuccess { channel.close(promise: nil) }
                channel.connect(to: plain.address, promise: promise)
            }.get()
            try await outcome(channel.closeFuture).get()
            #expect(journal.events == ["registered", "unregistered", "removed"])
            #expect(try await plain.accept().receive().isEmpty)
        }
    }

    @Test("Closed before it is registered, it tells its pipeline nothing", arguments: streamTransports)
    func closeFresh(transport: TransportKind) async throws {
        try await withRingGroup(transport) { group async throws in
            let journal = Journal()
            let channel = RingStreamChannel(group.loops[0], fd: try Socket.stream(AF_INET))
            try await channel.pipeline.addHandler(Spy(journal)).get()
            try await channel.close().get()
            try await outcome(channel.closeFuture).get()
            #expect(journal.events == ["removed"])
            #expect(try await failure(channel.register()) as? ChannelError == .ioOnClosedChannel)
            #expect(try await failure(channel.close()) as? ChannelError == .alreadyClosed)
        }
    }

    @Test("What does not fit the state of a new channel fails, and leaves it as it was", arguments: streamTransports)
    func inappropriate(transport: TransportKind) async throws {
        try await withRingGroup(transport) { group async throws in
            let plain = try PlainListener()
            let channel = RingStreamChannel(group.loops[0], fd: try Socket.stream(AF_INET))
            #expect(
                try await failure(channel.connect(to: plain.address)) as? ChannelError
                    == .inappropriateOperationForState)
            channel.read()
            channel.flush()
            try await outcome(channel.register()).get()
            #expect(try await failure(channel.register()) as? ChannelError == .inappropriateOperationForState)
            #expect(!channel.isActive)
            try await outcome(channel.connect(to: plain.address)).get()
            #expect(channel.isActive)
            let peer = try await plain.accept()
            // As SwiftNIO: a second connect ends it.
            #expect((try await failure(channel.connect(to: plain.address)) as? IOError)?.errnoCode == EISCONN)
            try await outcome(channel.closeFuture).get()
            #expect(try await peer.receive().isEmpty)
        }
    }

    @Test("A second connect, while the first is pending, fails and leaves the first alone", arguments: streamTransports)
    func connectPending(transport: TransportKind) async throws {
        try await withRingGroup(transport) { group async throws in
            let plain = try PlainListener()
            let channel = RingStreamChannel(group.loops[0], fd: try Socket.stream(AF_INET))
            let (first, second) = try await group.loops[0].submit {
                channel.register(promise: nil)
                return (channel.connect(to: plain.address), channel.connect(to: plain.address))
            }.get()
            #expect(try await failure(second) as? ChannelError == .connectPending)
            try await outcome(first).get()
            try await channel.close().get()
        }
    }

    @Test("Writing, flushing, reading and closing a closed channel fail or do nothing", arguments: streamTransports)
    func afterClose(transport: TransportKind) async throws {
        try await withAccepted(transport) { it async throws in
            try await it.channel.close().get()
            #expect(
                try await failure(it.channel.holding(ByteBuffer(string: "x"))) as? ChannelError == .ioOnClosedChannel)
            #expect(
                try await failure(it.channel.sending(ByteBuffer(string: "x"))) as? ChannelError
                    == .ioOnClosedChannel)
            it.channel.flush()
            it.channel.read()
            for mode in [CloseMode.all, .input, .output] {
                #expect(try await failure(it.channel.close(mode: mode)) as? ChannelError == .alreadyClosed)
            }
            #expect(
                try await failure(it.channel.setOption(.autoRead, value: false)) as? ChannelError == .ioOnClosedChannel)
            #expect(try await failure(it.channel.getOption(.autoRead)) as? ChannelError == .ioOnClosedChannel)
            let channel = it.stream
            try await it.onLoop {
                #expect(throws: ChannelError.ioOnClosedChannel) { try channel.localAddress0() }
                #expect(throws: ChannelError.ioOnClosedChannel) { try channel.remoteAddress0() }
                channel.pipeline.fireChannelRead(ByteBuffer(string: "late"))
            }
        }
    }

    @Test(
        "A peer that resets is told as an error, and ends the channel",
        arguments: across(streamTransports, [true, false]))
    func reset(transport: TransportKind, autoRead: Bool) async throws {
        try await withAccepted(transport) {
            $0.childChannelOption(.autoRead, value: autoRead)
        } _: { it async throws in
            try await it.journal.wait(for: "active")
            it.peer.reset()
            try await it.journal.wait(for: "removed")
            #expect(
                it.journal.events == [
                    "registered", "active", "error \(ECONNRESET)", "inactive", "unregistered", "removed",
                ])
        }
    }

    @Test("Bytes that were parked when the peer reset are told first", arguments: streamTransports)
    func parkedBeforeReset(transport: TransportKind) async throws {
        try await withAccepted(transport) { it async throws in
            it.spy.passesReads.store(false, ordering: .relaxed)
            try await it.peer.send("first")
            try await it.journal.wait(for: "readComplete")
            try await it.peer.send("second")
            let stream = it.stream
            try await soon("parked bytes") {
                try stream.loop.submit { stream.parked.readableBytes }.wait() == 6
            }
            it.peer.reset()
            try await it.journal.wait(for: "removed")
            #expect(String(decoding: it.journal.bytes, as: UTF8.self) == "firstsecond")
            #expect(
                it.journal.events.suffix(6) == [
                    "read 6", "readComplete", "error \(ECONNRESET)", "inactive", "unregistered", "removed",
                ])
        }
    }

    @Test("The end of file is never an error", arguments: streamTransports)
    func endOfFile(transport: TransportKind) async throws {
        try await withAccepted(transport) { it async throws in
            it.peer.finishOutput()
            try await it.journal.wait(for: "removed")
            #expect(
                it.journal.events == ["registered", "active", "readComplete", "inactive", "unregistered", "removed"])
            #expect(try await it.peer.receive().isEmpty)
        }
    }

    @Test(
        "Without automatic reading the end is noticed all the same, and told behind all bytes",
        arguments: streamTransports)
    func endWithoutReading(transport: TransportKind) async throws {
        let bytes = pattern(50_000)
        try await withAccepted(transport) {
            $0.childChannelOption(.autoRead, value: false)
        } _: { it async throws in
            try await it.peer.send(bytes)
            #expect(!it.journal.events.contains { $0.hasPrefix("read") })
            it.peer.finishOutput()
            try await it.journal.wait(for: "removed")
            #expect(it.journal.bytes.isSame(as: bytes))
            #expect(it.journal.events.suffix(4) == ["readComplete", "inactive", "unregistered", "removed"])
        }
    }

    @Test(
        "A channel that has connected and drops every request to read notices the end too",
        arguments: across(streamTransports, [false, true]))
    func endWithoutReadingConnected(transport: TransportKind, halfClosure: Bool) async throws {
        try await withConnected(transport) {
            $0.channelOption(.allowRemoteHalfClosure, value: halfClosure)
        } spy: {
            $0.passesReads.store(false, ordering: .relaxed)
        } _: { it async throws in
            it.peer.close()
            if halfClosure {
                try await it.journal.wait(for: "event inputClosed")
                #expect(it.channel.isActive)
                // Answered by a reset, since the peer has gone altogether.
                try await outcome(it.channel.sending(ByteBuffer(string: "x"))).get()
            }
            try await it.journal.wait(for: "removed")
            #expect(it.journal.events.suffix(3) == ["inactive", "unregistered", "removed"])
            #expect(it.journal.count("active") == 1 && it.journal.count("inactive") == 1)
        }
    }

    @Test("A closed channel's socket is closed, and the channel let go of", arguments: streamTransports)
    func nothingLeft(transport: TransportKind) async throws {
        final class Weak: Sendable {
            // Sendable: set before it is shared.
            nonisolated(unsafe) weak var channel: (any NIOCore.Channel)?
        }
        let weak = Weak()
        try await withRingGroup(transport) { group async throws in
            let plain = try PlainListener()
            func use() async throws -> FileIdentity {
                let channel = try await RingClientBootstrap(group: group).connect(to: plain.address).get()
                weak.channel = channel
                let stream = channel as! RingStreamChannel
                let identity = try await group.loops[0].submit { try stream.withUnsafeTransport { FileIdentity($0) } }
                    .get()
                try await channel.sending(ByteBuffer(bytes: pattern(100_000))).get()
                try await channel.close().get()
                try await outcome(channel.closeFuture).get()
                return try #require(identity)
            }
            let socket = try await use()
            #expect(!isOpenAnywhere(socket))
            try await soon("the channel's end") { weak.channel == nil }
        }
    }

    @Test("The loop's end closes its channels through their pipelines", arguments: streamTransports)
    func groupEnds(transport: TransportKind) async throws {
        let journal = Journal()
        var peer: FarEnd?
        try await withAccepted(transport) { it async throws in
            try await it.journal.wait(for: "active")
            peer = it.peer
            it.channel.closeFuture.whenComplete { _ in journal.note("closed") }
        }
        #expect(journal.events == ["closed"])
        #expect(try await peer?.receive().isEmpty == true)
    }

    @Test("Its description may be asked for on any thread", arguments: streamTransports)
    func description(transport: TransportKind) async throws {
        try await withAccepted(transport) { it async throws in
            #expect(!"\(it.channel)".isEmpty && !"\(it.listener)".isEmpty)
        }
    }
}
