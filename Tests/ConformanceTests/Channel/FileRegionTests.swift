import Foundation
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Connection: file regions")
struct FileRegionTests {
    @Test(
        "regions, empty ones too, and bytes between them arrive in order, byte-exact (netty 60)",
        arguments: TransportMode.available, AddressFamily.allCases)
    func interleaved(mode: TransportMode, family: AddressFamily) throws {
        let content = pattern(300_000, seed: 2)
        let file = try TestFile(content)
        let server = try TestServer(mode, family.address)
        let peer = try Peer(connectingTo: server.address)
        try server.first { connection in
            let write = { (offset: Int, count: Int) in
                #expect(throws: Never.self) { connection.write(file: try file.region(offset, count)) }
            }
            connection.write("first")
            write(0, 300_000)
            write(7, 0)
            write(299_999, 1)
            connection.write(pattern(50_000))
            write(100_001, 30_000)
            connection.write("last")
            #expect(connection.queuedFileBytes == 330_001 && connection.queuedBytes == 50_009)
            connection.finishOutput()
        }
        var expected = Array("first".utf8) + content + content[299_999...] + pattern(50_000)
        expected += content[100_001..<130_001] + Array("last".utf8)
        #expect(try peer.receiveToEnd() == expected)
        #expect(try server.first { $0.bytesSent } == UInt64(expected.count))
        #expect(try server.first { $0.queuedFileBytes } == 0)
        try server.recorder.wait { $0 == [.flushed] }
        try server.join()
    }

    @Test("a head and the file behind it go out in one packet", arguments: TransportMode.available)
    func headAndFile(mode: TransportMode) throws {
        let file = try TestFile(pattern(500))
        let server = try TestServer(mode)
        let peer = try Peer(connectingTo: server.address)
        let before = try #require(try server.first { try? $0.tcpInfo().counters.segmentsSent })
        try server.first { connection in
            connection.write("head")
            #expect(throws: Never.self) { connection.write(file: try file.region(0, 500)) }
        }
        #expect(try peer.receive(exactly: 504) == Array("head".utf8) + pattern(500))
        let after = try #require(try server.first { try? $0.tcpInfo().counters.segmentsSent })
        #expect(after - before == 1)
        try server.join()
    }

    @Test(
        "a small send buffer and a slow reader lose and repeat nothing (netty 56, 60)",
        arguments: across(TransportMode.available, AddressFamily.allCases, [1, 2, 3]))
    func slowReader(mode: TransportMode, family: AddressFamily, seed: UInt64) throws {
        let endless = EndlessPattern(seed: seed)
        let file = try TestFile(Array(endless.piece(at: 0, count: 1 << 20)))
        let server = try TestServer(mode, family.address) { _ = Socket.set($0.fd, SOL_SOCKET, SO_SNDBUF, 4096) }
        let peer = try Peer(connectingTo: server.address, receiveBuffer: 4096)
        let total = 3_000_000
        try server.first { connection in
            var generator = SeededGenerator(seed: seed)
            var written = 0
            while written < total {
                let count = min(Int.random(in: 1...100_000, using: &generator), total - written)
                if Bool.random(using: &generator) {
                    // The file is the pattern's beginning, which repeats: the same bytes at a position within it.
                    let offset = written % 65_537
                    #expect(throws: Never.self) { connection.write(file: try file.region(offset, count)) }
                } else {
                    _ = endless.piece(at: written, count: count).withUnsafeBytes { connection.write($0) }
                }
                written += count
            }
            connection.finishOutput()
        }
        var received = 0
        while case let part = try peer.receive(upTo: 30_000), !part.isEmpty {
            try #require(endless.matches(part, at: received))
            received += part.count
        }
        #expect(received == total)
        peer.finishOutput()
        #expect(try server.recorder.waitForEnd() == .finished)
        #expect(try server.thread.on { $0.chunks.takenCount } == 0)
        try server.join()
    }

    @Test(
        "a peer that has sent FIN and does not read costs no turns, and gets all when it reads",
        arguments: TransportMode.available, AddressFamily.allCases)
    func finishedPeer(mode: TransportMode, family: AddressFamily) throws {
        let file = try TestFile(pattern(2_000_000))
        let server = try TestServer(mode, family.address) { connection in
            _ = Socket.set(connection.fd, SOL_SOCKET, SO_SNDBUF, 4096)
            connection.onInputEnded = { connection in
                #expect(throws: Never.self) { connection.write(file: try file.region(0, 2_000_000)) }
                connection.finishOutput()
            }
        }
        let peer = try Peer(connectingTo: server.address, receiveBuffer: 4096)
        peer.finishOutput()
        try server.recorder.wait { $0.contains(.inputEnded) }
        // The socket is full at once.
        try server.thread.waitForSleep()
        #expect(try peer.receiveToEnd() == pattern(2_000_000))
        #expect(try server.recorder.waitForEnd() == .finished)
        try server.join()
    }

    /// The last of them may be sent when there has been an edge, the wait for which still has to end.
    @Test(
        "a peer that has sent FIN: progress up to the last byte is told", arguments: TransportMode.available,
        AddressFamily.allCases)
    func progressAfterFIN(mode: TransportMode, family: AddressFamily) throws {
        let file = try TestFile(pattern(100_000))
        let counts = Recorder<UInt64>()
        let server = try TestServer(mode, family.address, sendBuffer: 4096) { connection in
            connection.onInputEnded = { connection in
                #expect(throws: Never.self) { connection.write(file: try file.region(0, 100_000)) }
            }
            connection.onProgressed = { counts.record($0.bytesSent) }
        }
        for round in 1...5 {
            let peer = try Peer(connectingTo: server.address, receiveBuffer: 4096)
            peer.finishOutput()
            #expect(try peer.receive(exactly: 100_000) == pattern(100_000))
            try server.recorder.wait { $0.count { $0 == .flushed } == round }
            #expect(counts.all.last == 100_000)
            let isProgress = zip(counts.all, counts.all.dropFirst()).allSatisfy { $0 < $1 || $0 == 100_000 }
            #expect(isProgress, "told without progress")
        }
        try server.join()
    }

    @Test(
        "a region longer than its file ends the connection with that reason, after what there was (netty 60)",
        arguments: TransportMode.available)
    func tooShort(mode: TransportMode) throws {
        let file = try TestFile(pattern(10_000))
        let server = try TestServer(mode)
        let peer = try Peer(connectingTo: server.address)
        try server.first { connection in
            #expect(throws: Never.self) { connection.write(file: try file.region(4000, 6001)) }
            connection.write("never sent")
        }
        #expect(try server.recorder.waitForEnd() == .fileTooShort)
        #expect(server.recorder.all == [.closed(.fileTooShort)])
        #expect(try peer.receiveToEnd() == Array(pattern(10_000)[4000...]))
        try server.join()
    }

    @Test(
        "what arrives while a file is sent is received as ever, and the socket stays in blocking mode",
        arguments: TransportMode.available)
    func receivingMeanwhile(mode: TransportMode) throws {
        let endless = EndlessPattern(seed: 5)
        let total = 8 << 20
        let file = try TestFile(Array(endless.piece(at: 0, count: 1 << 20)))
        let server = try TestServer(mode) { connection in
            connection.recordsData = false
            connection.onInputEnded = { _ in }
            var received = 0
            connection.onReceived = { connection, bytes in
                if !endless.matches(bytes, at: received) { connection.abort() }
                received += bytes.count
                if received == total { connection.finishOutput() }
            }
            connection.write("go")
            connection.onFlushed = { connection in
                // 1 MiB again and again, so that the call and its window fall between arrivals of every kind.
                guard received < total else { return }
                #expect(throws: Never.self) { connection.write(file: try file.region(0, 1 << 20)) }
            }
        }
        let peer = try Peer(connectingTo: server.address)
        #expect(try peer.receive(exactly: 2) == Array("go".utf8))
        let sent = Recorder<Bool>()
        Thread.detachNewThread {
            var position = 0
            while position < total {
                let piece = endless.piece(at: position, count: min(10_007, total - position))
                guard (try? peer.send(Array(piece))) != nil else { break }
                position += piece.count
            }
            sent.record(position == total)
        }
        var received = 0
        while case let part = try peer.receive(upTo: 1 << 18), !part.isEmpty {
            var checked = 0
            while checked < part.count {
                let place = (received + checked) % (1 << 20)
                let count = min(part.count - checked, (1 << 20) - place)
                try #require(endless.matches(Array(part[checked..<checked + count]), at: place))
                checked += count
            }
            received += part.count
        }
        #expect(try sent.next() && received >= 1 << 20)
        try server.first { #expect(fcntl($0.fd, F_GETFL) & O_NONBLOCK == 0) }
        peer.finishOutput()
        #expect(try server.recorder.waitForEnd() == .finished)
        try server.join()
    }

    @Test(
        "a region is not counted towards the water marks, and its file is closed when it has been sent or dropped",
        arguments: TransportMode.available)
    func ownership(mode: TransportMode) throws {
        var configuration = ConnectionConfiguration()
        (configuration.highWaterMark, configuration.lowWaterMark) = (10, 5)
        let server = try TestServer(mode, connection: configuration, sendBuffer: 4096)
        let peer = try Peer(connectingTo: server.address, receiveBuffer: 4096)
        weak let sentFile: OwnedDescriptor?
        weak let droppedFile: OwnedDescriptor?
        do {
            let (sent, dropped) = (try TestFile(pattern(100)), try TestFile(pattern(4_000_000)))
            (sentFile, droppedFile) = (sent.descriptor, dropped.descriptor)
            let (first, second) = (try sent.region(0, 100), try dropped.region(0, 4_000_000))
            try server.first { connection in
                connection.write(file: first)
                connection.write(file: second)
                #expect(connection.isWritable && connection.queuedBytes == 0)
            }
        }
        #expect(try peer.receive(exactly: 100) == pattern(100))
        try eventually("closed") { sentFile == nil }
        #expect(droppedFile != nil)
        try server.first { $0.close() }
        #expect(try server.recorder.waitForEnd() == .closed)
        try eventually("closed") { droppedFile == nil }
        try server.join()
    }

    @Test("a peer that is gone ends the connection as a reset, without SIGPIPE", arguments: TransportMode.available)
    func noSignal(mode: TransportMode) async {
        await #expect(processExitsWith: .success) { [mode] in
            signal(SIGPIPE, SIG_DFL)
            let file = try TestFile(pattern(1 << 20))
            for family in AddressFamily.allCases {
                let server = try TestServer(mode, family.address, reading: false)
                let peer = try Peer(connectingTo: server.address)
                peer.close()
                try server.recorder.wait { $0 == [.inputEnding] }
                let box = try server.connections.wait { !$0.isEmpty }[0]
                let region = try file.region(0, 1 << 20)
                try eventually("reset") {
                    try server.thread.on { _ in _ = box.connection.write(file: region) }
                    return server.recorder.all.last == .closed(.reset)
                }
                try server.join()
            }
        }
    }

    @Test("more segments than allowed abort the connection, like too many bytes", arguments: TransportMode.available)
    func tooManySegments(mode: TransportMode) throws {
        var configuration = ConnectionConfiguration()
        configuration.queuedSegmentsMax = 3
        let file = try TestFile(pattern(10))
        let server = try TestServer(mode, connection: configuration)
        let peer = try Peer(connectingTo: server.address)
        let region = try file.region(0, 10)
        try server.first { connection in
            for _ in 0..<3 { #expect(connection.write(file: region)) }
            #expect(!connection.write(file: region))
        }
        #expect(try server.recorder.waitForEnd() == .writeQueueOverflow)
        #expect(peer.receiveError() == ECONNRESET)
        try server.join()
    }
}
