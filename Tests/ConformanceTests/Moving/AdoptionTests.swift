import Glibc
import Testing

@testable import Transport
@testable import TransportTesting

/// How a connection goes on from what its former owner left.
@Suite("Adopting a detached connection")
struct AdoptionTests {
    private struct Fixture {
        let thread: LoopThread
        let recorder = Recorder<Happening>()

        init(_ mode: TransportMode) throws { thread = try LoopThread(mode) }

        /// A connection made of one end of a pair and a remainder; returns it with the other end.
        func adopt(
            _ remainder: ConnectionRemainder?, reading: Bool = true, _ configuration: ConnectionConfiguration = .init(),
            setUp: @escaping @Sendable (RecordingConnection) -> Void = { _ in }
        ) throws -> (ConnectionBox, Peer) {
            let remainder = try #require(remainder)
            let (fd, peer) = try streamPair()
            let boxes = Recorder<ConnectionBox>()
            let recorder = recorder
            #expect(
                thread.remote.adopt(DetachedConnection(fd: fd, remainder: remainder)) { loop, detached in
                    let connection = RecordingConnection(loop, detached, recorder, configuration)
                    setUp(connection)
                    connection.start(reading: reading)
                    boxes.record(ConnectionBox(connection))
                })
            return (try boxes.next(), peer)
        }
    }

    @Test(
        "what was left unread is told first, and needs no further bytes to be told", arguments: TransportMode.available)
    func unreadFirst(mode: TransportMode) throws {
        let fixture = try Fixture(mode)
        let (_, peer) = try fixture.adopt(ConnectionRemainder(unread: Array("one ".utf8)))
        #expect(try fixture.recorder.waitForBytes(4) == Array("one ".utf8))
        try peer.send("two")
        #expect(try fixture.recorder.waitForBytes(7) == Array("one two".utf8))
        try fixture.thread.join()
    }

    @Test(
        "what was left unread waits while reading is paused, with what comes after it",
        arguments: TransportMode.available)
    func unreadPaused(mode: TransportMode) throws {
        let fixture = try Fixture(mode)
        let (box, peer) = try fixture.adopt(ConnectionRemainder(unread: Array("one ".utf8)), reading: false)
        try peer.send("two")
        try fixture.thread.settle()
        #expect(fixture.recorder.all.isEmpty)
        #expect(try fixture.thread.on { _ in box.connection.parkedBytes } == 4)
        try fixture.thread.on { _ in box.connection.resumeReading() }
        #expect(try fixture.recorder.waitForBytes(7) == Array("one two".utf8))
        try fixture.thread.join()
    }

    @Test("what was left unsent is sent first, and counts towards the water marks", arguments: TransportMode.available)
    func unsentFirst(mode: TransportMode) throws {
        let fixture = try Fixture(mode)
        let unsent = pattern(1_000_000)
        let (box, peer) = try fixture.adopt(ConnectionRemainder(unsent: unsent)) { connection in
            #expect(!connection.isWritable && connection.queuedBytes == 1_000_000)
            connection.write("behind")
        }
        #expect(try peer.receive(exactly: unsent.count + 6) == unsent + Array("behind".utf8))
        try fixture.recorder.wait { $0 == [.becameWritable, .flushed] }
        #expect(try fixture.thread.on { _ in box.connection.isWritable && box.connection.bytesSent == 1_000_006 })
        try fixture.thread.join()
    }

    @Test("FIN that was asked for follows what was left unsent", arguments: TransportMode.available)
    func finishing(mode: TransportMode) throws {
        let fixture = try Fixture(mode)
        let (box, peer) = try fixture.adopt(ConnectionRemainder(unsent: [1, 2, 3], output: .finishing))
        #expect(try peer.receiveToEnd() == [1, 2, 3])
        #expect(try fixture.thread.on { _ in box.connection.isOutputFinished && !box.connection.write([4]) })
        try peer.send("the other direction is open")
        _ = try fixture.recorder.waitForBytes(27)
        peer.close()
        #expect(try fixture.recorder.waitForEnd() == .finished)
        try fixture.thread.join()
    }

    @Test(
        "FIN that was sent is not sent again, and ends the connection with the peer's",
        arguments: TransportMode.available)
    func finished(mode: TransportMode) throws {
        let fixture = try Fixture(mode)
        let (_, peer) = try fixture.adopt(ConnectionRemainder(output: .finished))
        try peer.send("x")
        _ = try fixture.recorder.waitForBytes(1)
        peer.finishOutput()
        #expect(try fixture.recorder.waitForEnd() == .finished)
        #expect(fixture.recorder.events == [.inputEnded, .closed(.finished)])
        try fixture.thread.join()
    }

    @Test(
        "the end of the input, once told, is not told again; the other direction goes on",
        arguments: TransportMode.available)
    func inputEnded(mode: TransportMode) throws {
        let fixture = try Fixture(mode)
        let (box, peer) = try fixture.adopt(ConnectionRemainder(unsent: [1], isInputEnded: true))
        peer.finishOutput()
        #expect(try peer.receive(exactly: 1) == [1])
        try fixture.thread.on { _ in
            #expect(box.connection.isInputEnded)
            box.connection.write([2])
            box.connection.finishOutput()
        }
        #expect(try peer.receiveToEnd() == [2])
        #expect(try fixture.recorder.waitForEnd() == .finished)
        #expect(!fixture.recorder.all.contains(.inputEnded))
        try fixture.thread.join()
    }

    @Test("with the input ended, the peer's departure is still noticed", arguments: TransportMode.available)
    func resetAfterEnd(mode: TransportMode) throws {
        let fixture = try Fixture(mode)
        let (_, peer) = try fixture.adopt(ConnectionRemainder(unsent: [1], isInputEnded: true))
        try fixture.recorder.wait { $0.contains(.flushed) }
        // Closing with unread bytes resets a Unix-domain connection, too.
        peer.close()
        #expect(try fixture.recorder.waitForEnd() == .reset)
        try fixture.thread.join()
    }

    @Test("a connection that was over in both directions closes at its start", arguments: TransportMode.available)
    func over(mode: TransportMode) throws {
        let fixture = try Fixture(mode)
        _ = try fixture.adopt(ConnectionRemainder(isInputEnded: true, output: .finished))
        #expect(try fixture.recorder.waitForEnd() == .finished)
        #expect(fixture.recorder.all == [.closed(.finished)])
        try fixture.thread.join()
    }

    @Test("a loop that has stopped refuses a connection, which is closed", arguments: TransportMode.available)
    func refused(mode: TransportMode) throws {
        let fixture = try Fixture(mode)
        let (fd, peer) = try streamPair()
        let remainder = try #require(ConnectionRemainder())
        try fixture.thread.join()
        let isTaken = fixture.thread.remote.adopt(DetachedConnection(fd: fd, remainder: remainder)) { _, _ in
            Issue.record("refused")
        }
        #expect(!isTaken)
        #expect(try peer.receiveToEnd() == [])
    }
}
