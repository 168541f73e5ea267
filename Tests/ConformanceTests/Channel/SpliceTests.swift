import CSocket
import Foundation
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Connection: splice")
struct SpliceTests {
    /// Two connections of one loop, both paused at first: what is sent to the one is to come out of the other.
    private struct Fixture {
        let thread: LoopThread
        let source: ConnectionBox
        let target: ConnectionBox
        /// What happens to the one, and to the other.
        let events = Recorder<Happening>()
        let targetEvents = Recorder<Happening>()
        let sender: Peer
        let receiver: Peer

        /// - Parameter isSmall: with so little room in the sockets behind the pipe that it drains in many parts.
        init(
            _ mode: TransportMode, _ family: AddressFamily = .ipv4, isSmall: Bool = false, pipesMax: Int = 256
        ) throws {
            var configuration = mode.configuration
            configuration.splicePipesMax = pipesMax
            thread = try LoopThread(configuration)
            let (inside, sender) = try Self.pair(family, isSmall: false)
            let (outside, receiver) = try Self.pair(family, isSmall: isSmall)
            (self.sender, self.receiver) = (sender, receiver)
            let (events, targetEvents) = (events, targetEvents)
            (source, target) = try thread.on { loop in
                let source = RecordingConnection(loop, fd: inside, events)
                // What is copied for want of a pipe finds room there, however much it is.
                var copied = ConnectionConfiguration()
                copied.queuedBytesMax = 1 << 26
                copied.queuedSegmentsMax = 1 << 20
                let target = RecordingConnection(loop, fd: outside, targetEvents, copied)
                source.onInputEnded = { _ in target.finishOutput() }
                source.onSpan = { _, bytes in target.write(bytes) }
                source.start(reading: false)
                target.start()
                return (ConnectionBox(source), ConnectionBox(target))
            }
        }

        private static func pair(_ family: AddressFamily, isSmall: Bool) throws -> (Int32, Peer) {
            let listener = try Socket.listen(family.address, backlog: 1)
            defer { close(listener) }
            if isSmall { _ = Socket.set(listener, SOL_SOCKET, SO_SNDBUF, 4096) }
            let address = try #require(Socket.localAddress(of: listener))
            let peer = try Peer(connectingTo: address, receiveBuffer: isSmall ? 4096 : nil)
            let fd = accept(listener, nil, nil)
            try #require(fd >= 0)
            return (fd, peer)
        }

        /// Runs `body` on the loop with both.
        @discardableResult
        func on<Value: Sendable>(
            _ body: @escaping @Sendable (RecordingConnection, RecordingConnection) -> Value
        ) throws -> Value {
            try thread.on { _ in body(source.connection, target.connection) }
        }

        /// Splices from now on.
        func splice() throws {
            let isSplicing = try on { source, target in
                source.pauseReading()
                defer { source.resumeReading() }
                return source.splice(to: target)
            }
            try #require(isSplicing)
        }

        /// Sends until nothing more fits between the sender and the receiver, who does not read.
        func fill(_ stream: EndlessPattern) throws -> Int {
            let sender = sender
            var sent = 0
            var quiet = 0
            while quiet < 20 {
                let piece = Array(stream.piece(at: sent, count: 100_000))
                let count = send(sender.fd, piece, piece.count, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL))
                if count > 0 { sent += count } else { usleep(5000) }
                quiet = count > 0 ? 0 : quiet + 1
            }
            return sent
        }

        /// Ends both, and their pipes with them.
        func end() throws {
            try on { source, target in
                source.close()
                target.close()
            }
            try events.waitForEnd()
            try targetEvents.waitForEnd()
            #expect(try thread.on { $0.state.pointee.splicePipes.usedCount } == 0)
            #expect(try thread.on { $0.chunks.takenCount } == 0)
            try thread.join()
        }
    }

    @Test(
        "a stream passes byte for byte, FIN behind it, and nothing of it is told",
        arguments: across(TransportMode.available, AddressFamily.allCases, [false, true]))
    func stream(mode: TransportMode, family: AddressFamily, isSmall: Bool) throws {
        // Whatever else the user has in pipes counts against the kernel's limit (pipe(7)): what is copied for want of one
        // arrives all the same, but shows nothing of splicing.
        for _ in 1...10 {
            let refused = try pass(isSmall ? 3_000_000 : 30_000_000, Fixture(mode, family, isSmall: isSmall))
            if refused == 0 { return }
        }
        Issue.record("the kernel refuses pipes, again and again: \(Self.pipeError)")
    }

    /// What the kernel says to one who asks for a pipe now.
    private static var pipeError: String {
        var ends: [Int32] = [-1, -1]
        let result = csocket_pipe(&ends, SplicePipe.capacity, SplicePipe.capacity)
        for end in ends where result == 0 { close(end) }
        return "\(SystemError("pipe", code: -result))"
    }

    /// Returns how often there was no pipe to be had.
    private func pass(_ total: Int, _ fixture: Fixture) throws -> UInt64 {
        try fixture.splice()
        let stream = EndlessPattern(seed: 4)
        let sender = fixture.sender
        let sending = Recorder<Bool>()
        Thread.detachNewThread {
            var generator = SeededGenerator(seed: 5)
            var sent = 0
            while sent < total {
                let count = min(Int.random(in: 1...400_000, using: &generator), total - sent)
                guard (try? sender.send(Array(stream.piece(at: sent, count: count)))) != nil else { break }
                sent += count
            }
            sender.finishOutput()
            sending.record(sent == total)
        }
        var received = 0
        while case let part = try fixture.receiver.receive(upTo: 100_000), !part.isEmpty {
            try #require(stream.matches(part, at: received))
            received += part.count
        }
        #expect(received == total)
        #expect(try sending.next())
        let (refused, ofLoop) = try fixture.thread.on { loop in
            (loop.statistics.splicesRefused, loop.statistics.splicedBytes)
        }
        let spliced = try fixture.on { source, target in
            #expect(source.bytesReceived == UInt64(total))
            #expect(target.bytesSent == UInt64(total) && target.queuedBytes == 0)
            #expect(fcntl(source.fd, F_GETFL) & O_NONBLOCK == 0 && fcntl(target.fd, F_GETFL) & O_NONBLOCK == 0)
            return source.bytesSpliced
        }
        #expect(ofLoop == spliced)
        #expect(spliced == UInt64(total) || refused > 0, "\(spliced) of \(total) bytes were spliced")
        #expect(fixture.events.all == [.inputEnded])
        fixture.receiver.finishOutput()
        try fixture.targetEvents.wait { $0.contains(.closed(.finished)) }
        try fixture.end()
        return refused
    }

    @Test(
        "bytes received before are told first; bytes written meanwhile keep their place",
        arguments: TransportMode.available)
    func order(mode: TransportMode) throws {
        let fixture = try Fixture(mode, isSmall: true)
        let early = pattern(40_000, seed: 6)
        try fixture.on { source, target in
            target.write("head ")
            source.onSpan = { source, bytes in
                // What comes with the first bytes or behind them is parked.
                source.pauseReading()
                target.write(bytes)
            }
            source.resumeReading()
        }
        try fixture.sender.send(early)
        #expect(try fixture.receiver.receive(exactly: 5) == Array("head ".utf8))
        var told = 0
        while told < early.count {
            told = try fixture.on { source, _ in
                source.resumeReading()
                return Int(source.bytesReceived) - source.parkedBytes
            }
            try fixture.thread.settle()
        }
        let counts = Recorder<Int>()
        try fixture.on { source, target in
            source.onSpliced = { _, count in
                counts.record(count)
                target.write("|")
            }
        }
        // The receive that is being cancelled may bring some bytes yet: none are sent before it has ended.
        try fixture.thread.settle()
        try fixture.splice()
        let late = pattern(500_000, seed: 7)
        try fixture.sender.send(late)
        fixture.sender.finishOutput()
        let received = try fixture.receiver.receiveToEnd()
        var expected = early
        var passed = 0
        for count in counts.all {
            expected += late[passed..<passed + count] + [UInt8(ascii: "|")]
            passed += count
        }
        #expect(passed == late.count && received == expected)
        try fixture.end()
    }

    @Test("ended, bytes are told again, behind those in the pipe", arguments: TransportMode.available)
    func ending(mode: TransportMode) throws {
        let fixture = try Fixture(mode, isSmall: true)
        try fixture.on { source, _ in source.onSpliced = { source, _ in source.endSplicing() } }
        try fixture.splice()
        let bytes = pattern(2_000_000, seed: 8)
        let sender = fixture.sender
        Thread.detachNewThread {
            try? sender.send(bytes)
            sender.finishOutput()
        }
        #expect(try fixture.receiver.receiveToEnd() == bytes)
        try fixture.on { source, _ in
            #expect(!source.isSplicing && source.bytesReceived == 2_000_000)
            #expect((1..<2_000_000).contains(source.bytesSpliced))
        }
        try fixture.end()
    }

    @Test(
        "a pipe that is full makes no turns; ended meanwhile, reading goes on by itself",
        arguments: TransportMode.available)
    func endingWhileFull(mode: TransportMode) throws {
        let fixture = try Fixture(mode, isSmall: true)
        try fixture.splice()
        let stream = EndlessPattern(seed: 9)
        let sent = try fixture.fill(stream)
        try fixture.thread.waitForSleep()
        let taken = try fixture.on { source, _ in source.bytesReceived }
        #expect(taken < UInt64(sent), "the sender is held back")
        try fixture.on { source, _ in source.endSplicing() }
        try eventually("bytes received otherwise") {
            try fixture.on { source, _ in source.bytesReceived > taken && source.bytesSpliced == taken }
        }
        fixture.sender.finishOutput()
        let received = try fixture.receiver.receiveToEnd()
        #expect(received.count == sent && stream.matches(Array(received.prefix(1_000_000)), at: 0))
        try fixture.end()
    }

    @Test("the sender's RST is told while the receiver holds up the pipe", arguments: TransportMode.available)
    func resetBehindFullPipe(mode: TransportMode) throws {
        let fixture = try Fixture(mode, isSmall: true)
        try fixture.splice()
        _ = try fixture.fill(EndlessPattern())
        fixture.sender.reset()
        #expect(try fixture.events.waitForEnd() == .reset)
        try fixture.end()
    }

    @Test("the receiver's RST ends the other connection, and raises no signal", arguments: TransportMode.available)
    func receiverResets(mode: TransportMode) throws {
        let fixture = try Fixture(mode)
        try fixture.splice()
        let sender = fixture.sender
        let receiver = fixture.receiver
        _ = try fixture.fill(EndlessPattern())
        receiver.reset()
        #expect(try fixture.targetEvents.waitForEnd() == .reset)
        try sender.send("more")
        try eventually("told again") { try fixture.on { source, _ in !source.isSplicing } }
        try fixture.end()
    }

    @Test("when the target closes, what comes is told again", arguments: TransportMode.available)
    func targetCloses(mode: TransportMode) throws {
        let fixture = try Fixture(mode, isSmall: true)
        try fixture.on { source, _ in source.onSpan = nil }
        try fixture.splice()
        let sent = try fixture.fill(EndlessPattern())
        try fixture.on { _, target in target.close() }
        fixture.sender.finishOutput()
        try fixture.events.wait { $0.contains(.inputEnded) }
        try fixture.on { source, _ in
            #expect(!source.isSplicing && source.bytesReceived == UInt64(sent))
            #expect(source.bytesSpliced + UInt64(fixture.events.bytes.count) == UInt64(sent))
        }
        try fixture.end()
    }

    @Test(
        "detached, both carry on elsewhere with every byte, those in the pipe too",
        arguments: TransportMode.available)
    func detached(mode: TransportMode) throws {
        let fixture = try Fixture(mode, isSmall: true)
        let stream = EndlessPattern(seed: 10)
        try fixture.splice()
        let sent = try fixture.fill(stream)
        let queued = try fixture.on { source, target in
            let isNonblocking = fcntl(source.fd, F_GETFL) & O_NONBLOCK != 0
            #expect(isNonblocking == source.isSplicing, "splice(2) would wait otherwise")
            return Int(source.bytesReceived - target.bytesSent)
        }
        #expect(queued > 0, "some bytes are in the pipe")
        let parts = Recorder<ConnectionRemainder>()
        let sockets = Recorder<Int32>()
        try fixture.on { source, target in
            for connection in [source, target] {
                let isDetaching = connection.detach { detached in
                    parts.record(detached.remainder)
                    sockets.record(detached.takeDescriptor())
                }
                #expect(isDetaching)
            }
        }
        let both = try parts.wait { $0.count == 2 }
        let unsent = try #require(both.map(\.unsent).first { !$0.isEmpty })
        #expect(both.allSatisfy { $0.unread.isEmpty })
        #expect(unsent.count <= queued, "some may have been sent meanwhile")
        #expect(try fixture.thread.on { $0.state.pointee.splicePipes.usedCount } == 0)
        #expect(try fixture.on { source, target in !source.isSplicing && !target.isSplicing })
        // The receiver gets what the socket has, then what is unsent, then what the other socket still has.
        let (source, target) = (try sockets.next(), try sockets.next())
        defer {
            close(source)
            close(target)
        }
        #expect([source, target].allSatisfy { fcntl($0, F_GETFL) & O_NONBLOCK == 0 }, "as the next owner expects them")
        let toldBefore = try fixture.on { source, _ in Int(source.bytesReceived) } - unsent.count
        let first = try fixture.receiver.receive(exactly: toldBefore)
        #expect(stream.matches(Array(first.suffix(100_000)), at: max(0, first.count - 100_000)))
        #expect(first.count == toldBefore && stream.matches(unsent, at: toldBefore))
        let rest = try Peer(fd: dup(source)).receive(exactly: sent - toldBefore - unsent.count)
        #expect(stream.matches(Array(rest.prefix(1_000_000)), at: toldBefore + unsent.count))
        #expect(rest.count == sent - toldBefore - unsent.count)
        try fixture.thread.join()
    }

    @Test("closing with what is queued sends from the pipe what there is room for", arguments: TransportMode.available)
    func closeSendingQueued(mode: TransportMode) throws {
        let fixture = try Fixture(mode)
        try fixture.on { source, target in
            source.onSpliced = { source, _ in
                target.closeSendingQueued()
                source.close()
            }
        }
        let bytes = pattern(50_000, seed: 11)
        try fixture.sender.send(bytes)
        try eventually("all there") { try fixture.on { source, _ in Peer.unreadBytes(source.fd) } == 50_000 }
        try fixture.splice()
        #expect(try fixture.receiver.receiveToEnd() == bytes)
        try fixture.end()
    }

    @Test(
        "a loop has so many pipes and no more: it says no, counts it, and copies",
        arguments: TransportMode.available)
    func pipesMax(mode: TransportMode) throws {
        let fixture = try Fixture(mode, isSmall: true, pipesMax: 1)
        try fixture.splice()
        let sent = try fixture.fill(EndlessPattern())
        try fixture.on { source, target in
            target.pauseReading()
            #expect(!target.splice(to: source) && !target.isSplicing, "the only one is full")
            target.onSpan = { _, bytes in source.write(bytes) }
            target.resumeReading()
        }
        #expect(try fixture.thread.on { $0.statistics.splicesRefused } == 1)
        try fixture.receiver.send("copied")
        #expect(try fixture.sender.receive(exactly: 6) == Array("copied".utf8))
        #expect(try fixture.receiver.receive(exactly: sent).count == sent)
        try fixture.end()
    }

    @Test("a pipe is taken for the time that bytes are in it", arguments: TransportMode.available)
    func pipesShared(mode: TransportMode) throws {
        let fixture = try Fixture(mode, pipesMax: 1)
        try fixture.splice()
        try fixture.on { source, target in
            target.pauseReading()
            #expect(target.splice(to: source))
            target.resumeReading()
        }
        for _ in 0..<10 {
            try fixture.sender.send(pattern(50_000))
            #expect(try fixture.receiver.receive(exactly: 50_000) == pattern(50_000))
            try fixture.receiver.send(pattern(40_000))
            #expect(try fixture.sender.receive(exactly: 40_000) == pattern(40_000))
        }
        try fixture.on { source, target in
            #expect(source.bytesSpliced == 500_000 && target.bytesSpliced == 400_000)
        }
        #expect(try fixture.thread.on { $0.statistics.splicesRefused } == 0)
        try fixture.end()
    }

    enum Urgency: CaseIterable { case first, between, last }

    /// splice(2) reads up to it and then says that there is nothing, or nothing any more; recv(2) steps over it.
    @Test(
        "urgent data are left out, and nothing else; they make no turns",
        arguments: TransportMode.available, Urgency.allCases)
    func urgent(mode: TransportMode, urgency: Urgency) throws {
        let fixture = try Fixture(mode)
        try fixture.splice()
        if urgency != .first { try fixture.sender.send(pattern(100_000)) }
        #expect(send(fixture.sender.fd, "!", 1, Int32(MSG_OOB)) == 1)
        if urgency != .last { try fixture.sender.send(pattern(100_000, seed: 2)) }
        let expected = (urgency == .first ? [] : pattern(100_000)) + (urgency == .last ? [] : pattern(100_000, seed: 2))
        #expect(try fixture.receiver.receive(exactly: expected.count) == expected)
        try fixture.thread.waitForSleep()
        try fixture.sender.send("more")
        #expect(try fixture.receiver.receive(exactly: 4) == Array("more".utf8))
        fixture.sender.finishOutput()
        #expect(try fixture.receiver.receiveToEnd() == [])
        try fixture.end()
    }

    @Test(
        "a poll that told of bytes which somebody else has taken meanwhile does not end it",
        arguments: TransportMode.available)
    func taken(mode: TransportMode) throws {
        let fixture = try Fixture(mode)
        let stolen = Recorder<Int>()
        let source = fixture.source
        try fixture.on { _, target in
            target.onReceived = { _, _ in
                var byte: UInt8 = 0
                stolen.record(recv(source.connection.fd, &byte, 1, Int32(MSG_DONTWAIT)))
            }
        }
        try fixture.splice()
        // Both wake the loop at once, the target first.
        let (receiver, sender) = (fixture.receiver, fixture.sender)
        try fixture.on { source, target in
            for (connection, peer) in [(target, receiver), (source, sender)] {
                #expect(throws: Never.self) { try peer.send("x") }
                var poll = pollfd(fd: connection.fd, events: Int16(POLLIN), revents: 0)
                #expect(Glibc.poll(&poll, 1, 10_000) == 1)
            }
        }
        #expect(try stolen.next() == 1)
        try fixture.thread.settle()
        try fixture.sender.send(pattern(100_000))
        #expect(try fixture.receiver.receive(exactly: 100_000) == pattern(100_000))
        try fixture.on { source, _ in #expect(source.isSplicing && source.bytesSpliced == 100_000) }
        #expect(try fixture.thread.on { $0.statistics.splicesRefused } == 0)
        try fixture.end()
    }

    @Test(
        "where splice(2) is denied, bytes are copied as ever",
        arguments: TransportMode.available)
    func denied(mode: TransportMode) async {
        await #expect(processExitsWith: .success) { [mode] in
            try Confinement.denySplice(with: EPERM)
            let fixture = try Fixture(mode)
            try fixture.on { source, target in
                for _ in 0..<3 { #expect(!source.splice(to: target) && !source.isSplicing) }
                source.resumeReading()
            }
            #expect(try fixture.thread.on { $0.statistics.splicesRefused } == 1)
            try fixture.sender.send("copied")
            #expect(try fixture.receiver.receive(exactly: 6) == Array("copied".utf8))
            try fixture.end()
        }
    }
}
