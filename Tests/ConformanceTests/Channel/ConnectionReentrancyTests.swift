import Foundation
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Connection: what callbacks may do")
struct ConnectionReentrancyTests {
    enum Callback: CaseIterable { case received, parked, inputEnding, inputEnded, becameWritable, flushed, closed }
    enum Ending: CaseIterable { case close, abort }

    @Test(
        "close() and abort() from each callback end the connection, once and with nothing after it (netty 26)",
        arguments: across(TransportMode.available, Callback.allCases, Ending.allCases))
    func endFromCallback(mode: TransportMode, callback: Callback, ending: Ending) throws {
        var configuration = ConnectionConfiguration()
        (configuration.highWaterMark, configuration.lowWaterMark) = (10, 5)
        var loopConfiguration = mode.configuration
        // Several buffers at once, so that some are parked when the first pauses reading.
        if callback == .parked { loopConfiguration.receiveBuffers.size = 64 }
        let startsPaused = callback == .inputEnding || callback == .parked
        let server = try TestServer(
            .anyLoopback, loopConfiguration, connection: configuration, reading: !startsPaused
        ) { connection in
            func end(_ connection: RecordingConnection) {
                switch ending {
                case .close: connection.close()
                case .abort: connection.abort()
                }
                #expect(!connection.write("after the end"))
                connection.pauseReading()
                connection.resumeReading()
                connection.finishOutput()
            }
            switch callback {
            case .received: connection.onReceived = { connection, _ in end(connection) }
            case .parked:
                var isFirst = true
                connection.onReceived = { connection, _ in
                    if !isFirst { return end(connection) }
                    isFirst = false
                    connection.pauseReading()
                    LoopTimer(connection.loop) {
                        #expect(connection.parkedBytes > 0)
                        connection.resumeReading()
                    }.arm(after: .zero)
                }
            case .inputEnding: connection.onInputEnding = end
            case .inputEnded: connection.onInputEnded = end
            case .becameWritable: connection.onWritable = end
            case .flushed: connection.onFlushed = end
            case .closed:
                connection.onInputEnded = { $0.close() }
                connection.onClosed = end
            }
        }
        let peer = try Peer(connectingTo: server.address)
        switch callback {
        case .received: try peer.send(pattern(100_000))
        case .parked:
            try peer.send(pattern(1000))
            try eventually("bytes in the socket") { try server.first { Peer.unreadBytes($0.fd) } == 1000 }
            try server.first { $0.resumeReading() }
        case .inputEnding, .inputEnded, .closed: peer.finishOutput()
        case .becameWritable, .flushed: try server.first { $0.write("more than ten bytes") }
        }
        try server.recorder.waitForEnd()
        try server.thread.settle()
        let expected: CloseReason = ending == .close || callback == .closed ? .closed : .aborted
        #expect(server.recorder.all.last == .closed(expected))
        #expect(server.recorder.all.count { $0.isClosed } == 1)
        let index = try #require(server.recorder.events.firstIndex { $0.isClosed })
        #expect(index == server.recorder.events.count - 1)
        if callback == .becameWritable { #expect(!server.recorder.all.contains(.flushed)) }
        #expect(try server.thread.on { $0.channelCount } == 1)
        #expect(try server.thread.on { $0.chunks.takenCount } == 0)
        try server.join()
    }

    @Test(
        "what a callback writes to another connection is sent at once, from closed() too",
        arguments: TransportMode.available, [Callback.received, .inputEnded, .flushed, .closed])
    func writeToAnother(mode: TransportMode, callback: Callback) throws {
        let server = try TestServer(mode) { connection in connection.onInputEnded = { $0.close() } }
        let first = try Peer(connectingTo: server.address)
        try server.connections.wait { $0.count == 1 }
        let second = try Peer(connectingTo: server.address)
        let boxes = try server.connections.wait { $0.count == 2 }
        try server.thread.on { _ in
            let other = boxes[1].connection
            let write: (RecordingConnection) -> Void = { _ in _ = other.write("from the first") }
            switch callback {
            case .received: boxes[0].connection.onReceived = { connection, _ in write(connection) }
            case .inputEnded: boxes[0].connection.onInputEnded = write
            case .flushed: boxes[0].connection.onFlushed = write
            default: boxes[0].connection.onClosed = write
            }
        }
        switch callback {
        case .received: try first.send("x")
        case .flushed: try server.first { $0.write("x") }
        default: first.finishOutput()
        }
        // Nothing else wakes the loop while this waits.
        #expect(try second.receive(exactly: 14) == Array("from the first".utf8))
        try server.join()
    }

    @Test(
        "a callback may close another connection whose completions are in the same batch",
        arguments: TransportMode.available)
    func closeAnother(mode: TransportMode) throws {
        for round in 0..<20 {
            let server = try TestServer(mode)
            let peers = try (0..<2).map { _ in try Peer(connectingTo: server.address) }
            let boxes = try server.connections.wait { $0.count == 2 }
            try server.thread.on { _ in
                for (one, other) in [
                    (boxes[0].connection, boxes[1].connection), (boxes[1].connection, boxes[0].connection),
                ] {
                    one.onReceived = { [unowned other] _, _ in other.close() }
                }
                // Both arrive before the loop looks again.
                for peer in peers { try? peer.send("x") }
            }
            try server.recorder.wait { $0.contains { $0.isClosed } }
            try server.thread.settle()
            #expect(server.recorder.all.count { $0.isReceived } == 1, "round \(round)")
            #expect(server.recorder.all.count { $0 == .closed(.closed) } == 1)
            try server.join()
        }
    }

    @Test(
        "a callback may write without end to its own connection: the loop stays fair to another",
        arguments: TransportMode.available)
    func writeInFlushed(mode: TransportMode) throws {
        let server = try TestServer(mode) { connection in
            connection.recordsData = false
            connection.onReceived = { connection, bytes in connection.write(bytes) }
        }
        let busy = try Peer(connectingTo: server.address)
        try server.first { connection in
            connection.onFlushed = { connection in connection.write(pattern(1000)) }
            connection.write("go")
        }
        Thread.detachNewThread {
            while let part = try? busy.receive(), !part.isEmpty {}
        }
        let other = try Peer(connectingTo: server.address)
        for _ in 0..<20 {
            try other.send("ping")
            #expect(try other.receive(exactly: 4) == Array("ping".utf8))
        }
        try server.join()
    }

    @Test(
        "inputEnding() may resume reading; the rest and the end follow", arguments: TransportMode.available,
        AddressFamily.allCases)
    func resumeInEnding(mode: TransportMode, family: AddressFamily) throws {
        let server = try TestServer(mode, family.address, reading: false) { $0.onInputEnding = { $0.resumeReading() } }
        let peer = try Peer(connectingTo: server.address)
        try peer.send(pattern(10_000))
        peer.finishOutput()
        #expect(try server.recorder.waitForEnd() == .finished)
        #expect(server.recorder.bytes == pattern(10_000))
        try server.join()
    }
}
