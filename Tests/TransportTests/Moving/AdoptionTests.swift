import Glibc
import Testing

@testable import Transport

/// How a connection goes on from what its former owner left.
@Suite("Adopting a detached connection")
struct AdoptionTests {
    private let thread: LoopThread
    private let recorder = Recorder<Happening>()

    init() throws { thread = try LoopThread() }

    /// A connection made of one end of a pair and a remainder; returns it with the other end.
    private func adopt(
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

    @Test("what was left unread is told first, and needs no further bytes to be told")
    func unreadFirst() throws {
        let (_, peer) = try adopt(ConnectionRemainder(unread: Array("one ".utf8)))
        #expect(try recorder.waitForBytes(4) == Array("one ".utf8))
        try peer.send("two")
        #expect(try recorder.waitForBytes(7) == Array("one two".utf8))
        try thread.join()
    }

    @Test("what was left unread waits while reading is paused, with what comes after it")
    func unreadPaused() throws {
        let (box, peer) = try adopt(ConnectionRemainder(unread: Array("one ".utf8)), reading: false)
        try peer.send("two")
        try thread.settle()
        #expect(recorder.all.isEmpty)
        #expect(try thread.on { _ in box.connection.parkedBytes } == 4)
        try thread.on { _ in box.connection.resumeReading() }
        #expect(try recorder.waitForBytes(7) == Array("one two".utf8))
        try thread.join()
    }

    @Test("what was left unsent is sent first, and counts towards the water marks")
    func unsentFirst() throws {
        let unsent = pattern(1_000_000)
        let (box, peer) = try adopt(ConnectionRemainder(unsent: unsent)) { connection in
            #expect(!connection.isWritable && connection.queuedBytes == 1_000_000)
            connection.write("behind")
        }
        #expect(try peer.receive(exactly: unsent.count + 6) == unsent + Array("behind".utf8))
        try recorder.wait { $0 == [.becameWritable, .flushed] }
        #expect(try thread.on { _ in box.connection.isWritable && box.connection.bytesSent == 1_000_006 })
        try thread.join()
    }

    @Test("FIN that was asked for follows what was left unsent")
    func finishing() throws {
        let (box, peer) = try adopt(ConnectionRemainder(unsent: [1, 2, 3], output: .finishing))
        #expect(try peer.receiveToEnd() == [1, 2, 3])
        #expect(try thread.on { _ in box.connection.isOutputFinished && !box.connection.write([4]) })
        try peer.send("the other direction is open")
        _ = try recorder.waitForBytes(27)
        peer.close()
        #expect(try recorder.waitForEnd() == .finished)
        try thread.join()
    }

    @Test("FIN that was sent is not sent again, and ends the connection with the peer's")
    func finished() throws {
        let (_, peer) = try adopt(ConnectionRemainder(output: .finished))
        try peer.send("x")
        _ = try recorder.waitForBytes(1)
        peer.finishOutput()
        #expect(try recorder.waitForEnd() == .finished)
        #expect(recorder.events == [.inputEnded, .closed(.finished)])
        try thread.join()
    }

    @Test("the end of the input, once told, is not told again; the other direction goes on")
    func inputEnded() throws {
        let (box, peer) = try adopt(ConnectionRemainder(unsent: [1], isInputEnded: true))
        peer.finishOutput()
        #expect(try peer.receive(exactly: 1) == [1])
        try thread.on { _ in
            #expect(box.connection.isInputEnded)
            box.connection.write([2])
            box.connection.finishOutput()
        }
        #expect(try peer.receiveToEnd() == [2])
        #expect(try recorder.waitForEnd() == .finished)
        #expect(!recorder.all.contains(.inputEnded))
        try thread.join()
    }

    @Test("with the input ended, the peer's departure is still noticed")
    func resetAfterEnd() throws {
        let (_, peer) = try adopt(ConnectionRemainder(unsent: [1], isInputEnded: true))
        try recorder.wait { $0.contains(.flushed) }
        // Closing with unread bytes resets a Unix-domain connection, too.
        peer.close()
        #expect(try recorder.waitForEnd() == .reset)
        try thread.join()
    }

    @Test("a connection that was over in both directions closes at its start")
    func over() throws {
        _ = try adopt(ConnectionRemainder(isInputEnded: true, output: .finished))
        #expect(try recorder.waitForEnd() == .finished)
        #expect(recorder.all == [.closed(.finished)])
        try thread.join()
    }

    @Test("a remainder that contradicts itself is none")
    func contradictions() {
        #expect(ConnectionRemainder(unread: [1], isInputEnded: true) == nil)
        #expect(ConnectionRemainder(unsent: [1], output: .finished) == nil)
        #expect(ConnectionRemainder(unread: [1], unsent: [1], output: .finishing) != nil)
        #expect(ConnectionRemainder(unsent: [1], isInputEnded: true) != nil)
    }

    @Test("a loop that has stopped refuses a connection, which is closed")
    func refused() throws {
        let (fd, peer) = try streamPair()
        let remainder = try #require(ConnectionRemainder())
        try thread.join()
        let isTaken = thread.remote.adopt(DetachedConnection(fd: fd, remainder: remainder)) { _, _ in
            Issue.record("refused")
        }
        #expect(!isTaken)
        #expect(try peer.receiveToEnd() == [])
    }
}
