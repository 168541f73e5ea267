import Foundation
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Connection: progress, and the end of either direction")
struct ConnectionProgressTests {
    @Test(
        "progress is told before what follows of it, and at the end all bytes have been counted",
        arguments: TransportMode.available, AddressFamily.allCases)
    func progress(mode: TransportMode, family: AddressFamily) throws {
        let total = 2_000_000
        let counts = Recorder<UInt64>()
        let early = Recorder<String>()
        let server = try TestServer(mode, family.address, sendBuffer: 50_000) { connection in
            connection.onProgressed = { counts.record($0.bytesSent) }
            connection.onWritable = { if counts.all.last != $0.bytesSent { early.record("writable") } }
            connection.onFlushed = { if counts.all.last != $0.bytesSent { early.record("flushed") } }
        }
        let peer = try Peer(connectingTo: server.address, receiveBuffer: 50_000)
        try server.first { $0.write(pattern(total)) }
        #expect(try peer.receive(exactly: total) == pattern(total))
        try server.recorder.wait { $0.last == .flushed }
        #expect(counts.all.count > 1 && counts.all.last == UInt64(total))
        #expect(zip(counts.all, counts.all.dropFirst()).allSatisfy { $0 < $1 }, "told without progress")
        #expect(early.all.isEmpty)
        try server.join()
    }

    @Test(
        "FIN is told once, when all that was written before has been sent, and not when there is none",
        arguments: TransportMode.available, AddressFamily.allCases)
    func outputFinished(mode: TransportMode, family: AddressFamily) throws {
        let told = Recorder<UInt64>()
        let server = try TestServer(mode, family.address, sendBuffer: 50_000) { connection in
            connection.onInputEnded = { _ in }
            connection.onOutputFinished = { told.record($0.bytesSent) }
        }
        let peer = try Peer(connectingTo: server.address)
        try server.first { connection in
            connection.write(pattern(500_000))
            connection.finishOutput()
            connection.finishOutput()
        }
        #expect(try peer.receiveToEnd() == pattern(500_000))
        #expect(try told.next() == 500_000)
        peer.finishOutput()
        #expect(try server.recorder.waitForEnd() == .finished)
        let other = try Peer(connectingTo: server.address)
        try server.connections.wait { $0.count == 2 }
        let box = server.connections.all[1]
        try server.thread.on { _ in
            box.connection.write("x")
            box.connection.close()
        }
        try server.recorder.wait { $0.contains(.closed(.closed)) }
        #expect(told.all.isEmpty)
        withExtendedLifetime(other) {}
        try server.join()
    }

    @Test("closing in either callback is the end", arguments: TransportMode.available, [true, false])
    func closing(mode: TransportMode, inProgress: Bool) throws {
        let server = try TestServer(mode) { connection in
            if inProgress {
                connection.onProgressed = { $0.close() }
            } else {
                connection.onOutputFinished = { $0.close() }
            }
        }
        let peer = try Peer(connectingTo: server.address)
        try server.first { connection in
            connection.write("hello")
            if !inProgress { connection.finishOutput() }
        }
        #expect(try peer.receiveToEnd() == Array("hello".utf8))
        #expect(try server.recorder.waitForEnd() == .closed)
        #expect(server.recorder.all.contains(.flushed) != inProgress)
        try server.join()
    }

    @Test("segments are counted until they are sent", arguments: TransportMode.available)
    func segments(mode: TransportMode) throws {
        let file = try TestFile(pattern(1000))
        let released = Recorder<Bool>()
        let server = try TestServer(mode, .temporaryUnix())
        let peer = try Peer(connectingTo: server.address)
        let counts = try server.first { connection in
            let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 1000, alignment: 16)
            memory.copyBytes(from: pattern(1000))
            var counts = [connection.queuedSegments]
            #expect(throws: Never.self) { connection.write(file: try file.region(0, 1000)) }
            counts.append(connection.queuedSegments)
            connection.write(uncopied: UnsafeRawBufferPointer(memory)) {
                memory.deallocate()
                released.record(true)
            }
            connection.write("plain")
            counts.append(connection.queuedSegments)
            Array("x".utf8).withUnsafeBytes { _ = connection.write($0, descriptors: [file.descriptor]) }
            counts.append(connection.queuedSegments)
            return counts
        }
        #expect(counts == [0, 1, 2, 3])
        #expect(try peer.receive(exactly: 2006) == pattern(1000) + pattern(1000) + Array("plainx".utf8))
        try server.recorder.wait { $0.contains(.flushed) }
        #expect(try server.first { $0.queuedSegments } == 0)
        #expect(try released.next())
        try server.join()
    }

    // MARK: finishInput

    @Test(
        "an input that is finished is told of no more, neither bytes nor its end, and the output goes on",
        arguments: across(TransportMode.available, AddressFamily.allCases, [true, false]))
    func finishInput(mode: TransportMode, family: AddressFamily, paused: Bool) throws {
        let server = try TestServer(mode, family.address)
        let peer = try Peer(connectingTo: server.address)
        if paused {
            // Parked, they are dropped.
            try server.first { $0.pauseReading() }
            try peer.send("lost")
            try server.thread.settle()
        }
        try server.first { connection in
            connection.finishInput()
            connection.finishInput()
            #expect(connection.parkedBytes == 0)
            connection.resumeReading()
            connection.write("still here")
        }
        #expect(try peer.receive(exactly: 10) == Array("still here".utf8))
        // EPIPE on a Unix-domain socket; TCP takes them and drops them.
        if family != .unix { try peer.send("nobody listens") }
        try server.thread.settle()
        let turns = try server.thread.on { $0.statistics.turns }
        usleep(50_000)
        #expect(try server.thread.on { $0.statistics.turns } - turns < 100, "the loop spins")
        #expect(server.recorder.all.allSatisfy { $0 == .flushed })
        try server.first { $0.finishOutput() }
        #expect(try server.recorder.waitForEnd() == .finished)
        // With bytes in it that nobody has read, a socket's end is a reset.
        if !paused { #expect(try peer.receiveToEnd() == []) }
        try server.join()
    }

    @Test("finished second, the input ends the connection", arguments: TransportMode.available, AddressFamily.allCases)
    func finishInputLast(mode: TransportMode, family: AddressFamily) throws {
        let server = try TestServer(mode, family.address)
        let peer = try Peer(connectingTo: server.address)
        try server.first { connection in
            connection.write("bye")
            connection.onOutputFinished = { $0.finishInput() }
            connection.finishOutput()
        }
        #expect(try server.recorder.waitForEnd() == .finished)
        #expect(try peer.receiveToEnd() == Array("bye".utf8))
        #expect(!server.recorder.all.contains(.inputEnded))
        try server.join()
    }

    @Test(
        "finished while bytes are told, the input tells no more of them, parked ones too",
        arguments: TransportMode.available, [true, false])
    func finishInputWithin(mode: TransportMode, parked: Bool) throws {
        let server = try TestServer(mode) { connection in
            connection.onReceived = { connection, _ in
                if parked { connection.pauseReading() } else { connection.finishInput() }
            }
        }
        let peer = try Peer(connectingTo: server.address)
        try server.connections.wait { !$0.isEmpty }
        try server.thread.settle()
        // More than a receive buffer holds comes at once: behind the first part the rest is parked, where there is multishot.
        try server.thread.on { _ in #expect(throws: Never.self) { try peer.send(pattern(200_000)) } }
        try server.recorder.wait { $0.contains(where: \.isReceived) }
        try server.thread.settle()
        if parked {
            try server.first { connection in
                connection.onReceived = { connection, _ in connection.finishInput() }
                connection.resumeReading()
            }
            try server.recorder.wait { $0.count == 2 }
            try server.thread.settle()
        }
        let count = parked ? 2 : 1
        #expect(server.recorder.all.count == count)
        try server.first { $0.finishOutput() }
        #expect(try server.recorder.waitForEnd() == .finished)
        #expect(server.recorder.all.count == count + 1)
        try server.join()
    }

    @Test("a reset is told of though the input is finished", arguments: TransportMode.available)
    func finishInputThenReset(mode: TransportMode) throws {
        let server = try TestServer(mode)
        let peer = try Peer(connectingTo: server.address)
        try server.first { $0.finishInput() }
        try server.thread.settle()
        peer.reset()
        #expect(try server.recorder.waitForEnd() == .reset)
        try server.join()
    }

    @Test(
        "finished behind the peer's FIN that nobody has read, it tells of no end", arguments: TransportMode.available,
        AddressFamily.allCases)
    func finishInputAfterFin(mode: TransportMode, family: AddressFamily) throws {
        let server = try TestServer(mode, family.address, reading: false)
        let peer = try Peer(connectingTo: server.address)
        try peer.send("unread")
        peer.finishOutput()
        try server.recorder.wait { $0.contains(.inputEnding) }
        try server.first { connection in
            connection.finishInput()
            connection.resumeReading()
            connection.write("still here")
            connection.finishOutput()
        }
        #expect(try server.recorder.waitForEnd() == .finished)
        #expect(!server.recorder.all.contains { $0 == .inputEnded || $0.isReceived })
        try server.join()
    }
}
