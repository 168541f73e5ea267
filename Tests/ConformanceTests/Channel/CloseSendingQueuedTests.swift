import Foundation
import Synchronization
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Connection: closing behind what is queued")
struct CloseSendingQueuedTests {
    /// Uncopied memory that was handed over, and how much of it came back.
    private final class Loans: Sendable {
        let lent = Atomic<Int>(0)
        let returned = Atomic<Int>(0)

        func write(_ bytes: ArraySlice<UInt8>, to connection: RecordingConnection) {
            let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 16)
            memory.copyBytes(from: bytes)
            lent.add(1, ordering: .relaxed)
            connection.write(uncopied: UnsafeRawBufferPointer(memory)) { [self] in
                memory.deallocate()
                returned.add(1, ordering: .relaxed)
            }
        }

        var areReturned: Bool { lent.load(ordering: .relaxed) == returned.load(ordering: .relaxed) }
    }

    private static func configuration(zeroCopy: Bool) -> ConnectionConfiguration {
        var configuration = ConnectionConfiguration()
        if zeroCopy { configuration.zeroCopyThreshold = 1 }
        configuration.queuedBytesMax = .max
        return configuration
    }

    @Test(
        "what the socket has room for arrives in order, whatever it is, and then the end",
        arguments: across(TransportMode.available, AddressFamily.allCases, [true, false]))
    func everything(mode: TransportMode, family: AddressFamily, zeroCopy: Bool) throws {
        let loans = Loans()
        let content = pattern(60_000)
        let file = try TestFile(content)
        let server = try TestServer(mode, family.address, connection: Self.configuration(zeroCopy: zeroCopy))
        let peer = try Peer(connectingTo: server.address)
        try server.first { connection in
            connection.write(Array(content[..<100]))
            #expect(throws: Never.self) { connection.write(file: try file.region(100, 20_000)) }
            loans.write(content[20_100..<40_000], to: connection)
            connection.write(Array(content[40_000..<50_000]))
            connection.write(Array(content[50_000...]))
            connection.closeSendingQueued()
            connection.write("too late")
            connection.closeSendingQueued()
        }
        #expect(try peer.receiveToEnd() == content)
        #expect(try server.recorder.waitForEnd() == .closed)
        #expect(loans.areReturned)
        // Nobody is told of it.
        #expect(server.recorder.all == [.closed(.closed)])
        try server.join()
    }

    @Test(
        "behind a send that finds no room nothing is repeated, and memory is given back",
        arguments: across(TransportMode.available, AddressFamily.allCases, [0, 1, 2, 3]))
    func noRoom(mode: TransportMode, family: AddressFamily, form: Int) throws {
        let loans = Loans()
        let content = pattern(8 << 20)
        let file = try TestFile(content)
        let sent = Recorder<UInt64>()
        let server = try TestServer(
            mode, family.address, connection: Self.configuration(zeroCopy: form == 3), sendBuffer: 50_000
        ) { connection in
            connection.onClosed = { sent.record($0.bytesSent) }
        }
        let peer = try Peer(connectingTo: server.address, receiveBuffer: 50_000)
        try server.first { connection in
            switch form {
            case 0: connection.write(content)
            case 1: #expect(throws: Never.self) { connection.write(file: try file.region(0, content.count)) }
            default: loans.write(content[...], to: connection)
            }
        }
        // Until nothing moves any more: the send is stuck, though what it has sent may not be counted yet.
        var before: Int32 = -1
        try eventually {
            usleep(20_000)
            let now = Peer.unreadBytes(peer.fd)
            defer { before = now }
            return now == before && now > 0
        }
        try server.first { $0.closeSendingQueued() }
        #expect(try server.recorder.waitForEnd() == .closed)
        let count = try Int(sent.next())
        #expect(count < content.count)
        let received = try peer.receiveToEnd()
        #expect(received.count == count && received == Array(content[..<received.count]))
        // The kernel lets go of zero-copy memory when the peer has it.
        try eventually { loans.areReturned }
        try server.join()
    }

    @Test(
        "at any moment of any traffic, the peer gets what was counted as sent, once and in order",
        arguments: across(TransportMode.available, AddressFamily.allCases, [true, false]))
    func anyMoment(mode: TransportMode, family: AddressFamily, zeroCopy: Bool) throws {
        let content = pattern(3 << 20)
        let file = try TestFile(content)
        for seed in 1...12 {
            let loans = Loans()
            let sent = Recorder<UInt64>()
            let server = try TestServer(
                mode, family.address, connection: Self.configuration(zeroCopy: zeroCopy), sendBuffer: 60_000
            ) { connection in
                connection.onClosed = { sent.record($0.bytesSent) }
                var generator = SeededGenerator(seed: UInt64(seed))
                var written = 0
                let writeMore: (RecordingConnection) -> Void = { connection in
                    while written < content.count, connection.isWritable, connection.queuedFileBytes < 200_000 {
                        let count = min(Int.random(in: 1...150_000, using: &generator), content.count - written)
                        switch Int.random(in: 0..<3, using: &generator) {
                        case 0: connection.write(Array(content[written..<written + count]))
                        case 1: #expect(throws: Never.self) { connection.write(file: try file.region(written, count)) }
                        default: loans.write(content[written..<written + count], to: connection)
                        }
                        written += count
                    }
                }
                let end = UInt64.random(in: 0...UInt64(content.count - 300_000), using: &generator)
                connection.onProgressed = { connection in
                    // In some runs from within a callback, in others from a task of its own.
                    if connection.bytesSent >= end {
                        if seed % 2 == 0 { return connection.closeSendingQueued() }
                        let box = ConnectionBox(connection)
                        connection.loop.remote.execute { _ in box.connection.closeSendingQueued() }
                    }
                    writeMore(connection)
                }
                connection.onWritable = writeMore
                connection.onFlushed = writeMore
                writeMore(connection)
            }
            let peer = try Peer(connectingTo: server.address, receiveBuffer: 60_000)
            var received: [UInt8] = []
            while case let part = try peer.receive(upTo: 30_000), !part.isEmpty {
                received += part
                if seed % 3 == 0, received.count % 7 == 0 { usleep(200) }
            }
            #expect(try server.recorder.waitForEnd() == .closed)
            let count = try Int(sent.next())
            #expect(received.count == count && received == Array(content[..<received.count]), "seed \(seed)")
            try eventually { loans.areReturned }
            try server.join()
        }
    }

    @Test("asked for before, FIN follows the bytes all the same", arguments: TransportMode.available)
    func finishing(mode: TransportMode) throws {
        let server = try TestServer(mode)
        let peer = try Peer(connectingTo: server.address)
        try server.first { connection in
            connection.write("hello")
            connection.finishOutput()
            connection.closeSendingQueued()
        }
        #expect(try peer.receiveToEnd() == Array("hello".utf8))
        #expect(try server.recorder.waitForEnd() == .closed)
        try server.join()
    }

    @Test("a connection that was never started sends what it has", arguments: TransportMode.available)
    func notStarted(mode: TransportMode) throws {
        let thread = try LoopThread(mode)
        let (left, right) = try tcpPair()
        let peer = Peer(fd: right)
        try thread.on { loop in
            let connection = RecordingConnection(loop, fd: left, Recorder<Happening>())
            connection.write("hello")
            connection.closeSendingQueued()
        }
        #expect(try peer.receiveToEnd() == Array("hello".utf8))
        try thread.join()
    }

    @Test(
        "a connection that is leaving its loop stays, sends what it has, and closes", arguments: TransportMode.available
    )
    func detaching(mode: TransportMode) throws {
        let server = try TestServer(mode)
        let peer = try Peer(connectingTo: server.address)
        try server.first { connection in
            connection.write("hello")
            #expect(connection.detach { _ in Issue.record("it has left") })
            connection.closeSendingQueued()
        }
        #expect(try peer.receiveToEnd() == Array("hello".utf8))
        #expect(try server.recorder.waitForEnd() == .closed)
        try server.join()
    }

    @Test("closed before, it sends nothing", arguments: TransportMode.available)
    func closedBefore(mode: TransportMode) throws {
        let server = try TestServer(mode)
        let peer = try Peer(connectingTo: server.address)
        try server.first { connection in
            connection.write("dropped")
            connection.close()
            connection.closeSendingQueued()
        }
        #expect(try peer.receiveToEnd() == [])
        try server.join()
    }

    @Test(
        "what comes from the first descriptors on is dropped, and they are closed", arguments: TransportMode.available)
    func descriptors(mode: TransportMode) throws {
        let server = try TestServer(mode, .temporaryUnix())
        let peer = try Peer(connectingTo: server.address)
        let (kept, given) = try tcpPair()
        defer { close(kept) }
        let inode = socketInode(given)
        try server.first { connection in
            connection.write("before")
            Array("with".utf8).withUnsafeBytes { _ = connection.write($0, descriptors: [OwnedDescriptor(given)]) }
            connection.write("behind")
            connection.closeSendingQueued()
        }
        #expect(try peer.receiveToEnd() == Array("before".utf8))
        #expect(try server.recorder.waitForEnd() == .closed)
        try eventually { try !isOpen(inode: inode) }
        try server.join()
    }

    @Test("a peer that has gone ends it, without SIGPIPE", arguments: TransportMode.available, AddressFamily.allCases)
    func gone(mode: TransportMode, family: AddressFamily) throws {
        let file = try TestFile(pattern(100_000))
        let server = try TestServer(mode, family.address, reading: false)
        let peer = try Peer(connectingTo: server.address)
        try server.connections.wait { !$0.isEmpty }
        try server.first { connection in
            peer.reset()
            // Whatever it meets first, the loop knows nothing of it yet.
            #expect(throws: Never.self) { connection.write(file: try file.region(0, 100_000)) }
            connection.write("hello")
            connection.closeSendingQueued()
        }
        try server.recorder.waitForEnd()
        try server.join()
    }

    @Test("a reader as quick as the loop does not hold it up until the last byte", arguments: TransportMode.available)
    func bounded(mode: TransportMode) throws {
        let file = try TestFile([])
        try #require(ftruncate(file.descriptor.fd, 1 << 40) == 0)
        let server = try TestServer(mode)
        let peer = try Peer(connectingTo: server.address)
        let received = Recorder<Int>()
        Thread.detachNewThread {
            var (count, buffer) = (0, [UInt8](repeating: 0, count: 1 << 20))
            while case let number = recv(peer.fd, &buffer, buffer.count, 0), number > 0 { count += number }
            received.record(count)
        }
        try server.first { connection in
            #expect(throws: Never.self) { connection.write(file: try file.region(0, 1 << 40)) }
            connection.closeSendingQueued()
        }
        #expect(try received.next() <= 8 << 20)
        try server.join()
    }
}
