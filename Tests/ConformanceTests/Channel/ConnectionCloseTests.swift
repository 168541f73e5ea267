import Foundation
import Synchronization
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Connection: half-close, close and abort")
struct ConnectionCloseTests {
    @Test(
        "half-closed by the peer: the end is told once after all bytes, and the other half goes on (netty 45, 47)",
        arguments: across(TransportMode.available, AddressFamily.allCases, [true, false]))
    func peerFinishes(mode: TransportMode, family: AddressFamily, reading: Bool) throws {
        let server = try TestServer(mode, family.address, reading: reading) { $0.onInputEnded = { _ in } }
        let peer = try Peer(connectingTo: server.address)
        let data = pattern(16 * 1024)
        try peer.send(data)
        peer.finishOutput()
        if !reading {
            try server.recorder.wait { $0.contains(.inputEnding) }
            try server.first { $0.resumeReading() }
        }
        try server.recorder.wait { $0.contains(.inputEnded) }
        #expect(server.recorder.bytes == data)
        try server.first { connection in
            #expect(connection.isInputEnded && !connection.isOutputFinished)
            connection.write("still here")
        }
        #expect(try peer.receive(exactly: 10) == Array("still here".utf8))
        try server.first { $0.finishOutput() }
        #expect(try server.recorder.waitForEnd() == .finished)
        #expect(try peer.receiveToEnd() == [])
        #expect(server.recorder.all.count { $0 == .inputEnded } == 1)
        try server.join()
    }

    @Test(
        "from closed(_:) on there are no addresses, though the descriptor's number may be another socket's",
        arguments: TransportMode.available)
    func addresses(mode: TransportMode) throws {
        let listening = try Socket.listen(.anyLoopback, backlog: 1)
        defer { close(listening) }
        let other = try Peer(connectingTo: try #require(Socket.localAddress(of: listening)))
        let told = Recorder<[SocketAddress?]>()
        let server = try TestServer(mode) { connection in
            connection.onClosed = { connection in
                // The number that has just become free, unless another test has taken it.
                let copy = fcntl(other.fd, F_DUPFD_CLOEXEC, connection.fd)
                told.record([connection.peerAddress, connection.localAddress])
                close(copy)
            }
        }
        let peer = try Peer(connectingTo: server.address)
        try server.first { $0.close() }
        #expect(try told.next() == [nil, nil])
        withExtendedLifetime(peer) {}
        try server.join()
    }

    @Test("the end is told even when all bytes were read long before (netty 47)", arguments: TransportMode.available)
    func finAlone(mode: TransportMode) throws {
        let server = try TestServer(mode) { $0.onInputEnded = { _ in } }
        let peer = try Peer(connectingTo: server.address)
        try peer.send("x")
        _ = try server.recorder.waitForBytes(1)
        try server.thread.settle()
        peer.finishOutput()
        try server.recorder.wait { $0.last == .inputEnded }
        try server.join()
    }

    @Test(
        "unless inputEnded() is overridden, the connection closes when all bytes are told (netty 46)",
        arguments: TransportMode.available, AddressFamily.allCases)
    func closesByDefault(mode: TransportMode, family: AddressFamily) throws {
        let server = try TestServer(mode, family.address)
        let peer = try Peer(connectingTo: server.address)
        try peer.send(pattern(100_000))
        peer.finishOutput()
        #expect(try server.recorder.waitForEnd() == .finished)
        #expect(server.recorder.bytes == pattern(100_000))
        #expect(try peer.receiveToEnd() == [])
        try server.join()
    }

    @Test(
        "after finishOutput() the peer reads the end, and what it sends still arrives (netty 48, 49)",
        arguments: TransportMode.available, AddressFamily.allCases)
    func finishesFirst(mode: TransportMode, family: AddressFamily) throws {
        let server = try TestServer(mode, family.address) { connection in
            connection.write("bye")
            connection.finishOutput()
        }
        let peer = try Peer(connectingTo: server.address)
        #expect(try peer.receiveToEnd() == Array("bye".utf8))
        try server.first { connection in
            #expect(connection.isOutputFinished && !connection.isInputEnded)
        }
        try peer.send(pattern(50_000))
        #expect(try server.recorder.waitForBytes(50_000) == pattern(50_000))
        #expect(server.recorder.events == [.flushed])
        peer.finishOutput()
        #expect(try server.recorder.waitForEnd() == .finished)
        try server.join()
    }

    @Test("finishOutput() and close() after close() do nothing (netty 26, 50)", arguments: TransportMode.available)
    func closeTwice(mode: TransportMode) throws {
        let server = try TestServer(mode)
        let peer = try Peer(connectingTo: server.address)
        try server.first { connection in
            connection.close()
            connection.close()
            connection.abort()
            connection.finishOutput()
            connection.pauseReading()
            connection.resumeReading()
            #expect(!connection.write("late"))
        }
        #expect(try server.recorder.waitForEnd() == .closed)
        try server.first { connection in
            connection.close()
            #expect(!connection.write("later"))
        }
        try server.thread.settle()
        #expect(server.recorder.all == [.closed(.closed)])
        #expect(try peer.receiveToEnd() == [])
        try server.join()
    }

    @Test(
        "close() without anything unread is no error at the peer (netty 53)", arguments: TransportMode.available,
        AddressFamily.allCases)
    func closeIsFin(mode: TransportMode, family: AddressFamily) throws {
        let server = try TestServer(mode, family.address) { $0.write("last words") }
        let peer = try Peer(connectingTo: server.address)
        try server.recorder.wait { $0 == [.flushed] }
        try server.first { $0.close() }
        #expect(try peer.receiveToEnd() == Array("last words".utf8))
        #expect(try server.recorder.waitForEnd() == .closed)
        try server.join()
    }

    @Test(
        "abort() is ECONNRESET at the peer (netty 35, 53)",
        arguments: across(TransportMode.available, [SocketAddress.anyLoopback, .anyLoopbackV6], [true, false]))
    func abort(mode: TransportMode, address: SocketAddress, isJustAccepted: Bool) throws {
        let server = try TestServer(mode, address) { if isJustAccepted { $0.abort() } }
        let peer = try Peer(connectingTo: server.address)
        if !isJustAccepted { try server.first { $0.abort() } }
        #expect(peer.receiveError() == ECONNRESET)
        if !isJustAccepted { #expect(try server.recorder.waitForEnd() == .aborted) }
        try server.join()
    }

    @Test("abort() resets the peer even while the socket is open elsewhere", arguments: TransportMode.available)
    func abortShared(mode: TransportMode) throws {
        let server = try TestServer(mode)
        let peer = try Peer(connectingTo: server.address)
        let copy = try server.first { dup($0.fd) }
        defer { close(copy) }
        try server.first { $0.abort() }
        #expect(peer.receiveError() == ECONNRESET)
        #expect(try server.recorder.waitForEnd() == .aborted)
        try server.join()
    }

    @Test(
        "close() of a connection that is shared gives the peer its end while the socket is open elsewhere",
        arguments: TransportMode.available, AddressFamily.allCases)
    func closeShared(mode: TransportMode, family: AddressFamily) throws {
        var configuration = ConnectionConfiguration()
        configuration.isShared = true
        let server = try TestServer(mode, family.address, connection: configuration)
        let peer = try Peer(connectingTo: server.address)
        let copy = try server.first { dup($0.fd) }
        defer { close(copy) }
        try server.first { $0.close() }
        #expect(try peer.receiveToEnd() == [])
        #expect(try server.recorder.waitForEnd() == .closed)
        try server.join()
    }

    /// What another process says of its copies, numbered from 0.
    private final class Copies: Sendable {
        // Safe: an atomic, in memory that lives as long as this.
        nonisolated(unsafe) let released = UnsafeMutablePointer<Atomic<UInt64>>.allocate(capacity: 1)

        init(released count: UInt64) { released.initialize(to: Atomic(count)) }

        deinit { released.deallocate() }

        var first: SharedCopy { SharedCopy(SharedCopies(released: released, owner: self), number: 0) }
    }

    @Test(
        "a shared connection that both sides finish ends with FIN, whether the copy elsewhere is gone or not",
        arguments: across(TransportMode.available, AddressFamily.allCases, [true, false]))
    func finishShared(mode: TransportMode, family: AddressFamily, isGone: Bool) throws {
        var configuration = ConnectionConfiguration()
        configuration.isShared = true
        configuration.sharedCopy = Copies(released: isGone ? 1 : 0).first
        let server = try TestServer(mode, family.address, connection: configuration)
        let peer = try Peer(connectingTo: server.address)
        // Told gone or not, it is there: so it shows whether the connection was shut down or just closed.
        let copy = try server.first { dup($0.fd) }
        try peer.send("x")
        _ = try server.recorder.waitForBytes(1)
        try server.first { $0.write("y") }
        #expect(try peer.receive(exactly: 1) == Array("y".utf8))
        peer.finishOutput()
        #expect(try server.recorder.waitForEnd() == .finished)
        #expect(peer.hasNothingToReceive == isGone)
        close(copy)
        #expect(try peer.receiveToEnd() == [])
        try server.join()
    }

    @Test(
        "close() of a shared connection ends it once the copy elsewhere is gone",
        arguments: TransportMode.available, AddressFamily.allCases)
    func closeSharedAlone(mode: TransportMode, family: AddressFamily) throws {
        var configuration = ConnectionConfiguration()
        configuration.isShared = true
        configuration.sharedCopy = Copies(released: 1).first
        let server = try TestServer(mode, family.address, connection: configuration)
        let peer = try Peer(connectingTo: server.address)
        let copy = try server.first { dup($0.fd) }
        try server.first { $0.close() }
        #expect(try server.recorder.waitForEnd() == .closed)
        #expect(peer.hasNothingToReceive, "there is a copy after all, and nobody shut it down")
        close(copy)
        #expect(try peer.receiveToEnd() == [])
        try server.join()
    }

    @Test(
        "close() of a connection that is not shared leaves a socket that is open elsewhere alone",
        arguments: TransportMode.available)
    func closeUnshared(mode: TransportMode) throws {
        let server = try TestServer(mode)
        let peer = try Peer(connectingTo: server.address)
        let copy = Peer(fd: try server.first { dup($0.fd) })
        try server.first { $0.close() }
        #expect(try server.recorder.waitForEnd() == .closed)
        try copy.send("from the copy")
        #expect(try peer.receive(exactly: 13) == Array("from the copy".utf8))
        try server.join()
    }

    enum Ending: CaseIterable { case close, abort, stop, peerResets }

    @Test(
        "ended with a send in flight to a stopped reader: memory and descriptor are given back (netty 24, 59)",
        arguments: across(TransportMode.available, AddressFamily.allCases, Ending.allCases))
    func closeWhileSending(mode: TransportMode, family: AddressFamily, ending: Ending) throws {
        let server = try TestServer(mode, family.address, sendBuffer: 4096)
        let peer = try Peer(connectingTo: server.address, receiveBuffer: 4096)
        try server.first { $0.write(pattern(8 << 20)) }
        try eventually("a send waits for the reader") {
            try server.first { $0.bytesSent == 0 && $0.isInFlight(.send) } || server.first { $0.queuedBytes < 8 << 20 }
        }
        let inode = try server.firstInode()
        switch ending {
        case .close: try server.first { $0.close() }
        case .abort: try server.first { $0.abort() }
        case .stop: server.thread.remote.stop()
        case .peerResets: family == .unix ? peer.close() : peer.reset()
        }
        let expected: CloseReason =
            switch ending {
            case .close: .closed
            case .abort: .aborted
            case .stop: .loopStopped
            case .peerResets: .reset
            }
        #expect(try server.recorder.waitForEnd() == expected)
        #expect(try !isOpen(inode: inode))
        if ending != .stop {
            #expect(try server.thread.on { $0.chunks.takenCount } == 0)
            #expect(try server.thread.on { $0.channelCount } == 1)
        }
        try server.join()
    }

    @Test(
        "100 clients at once connect, echo and close, over and over: descriptors are reused, nothing is mixed up (netty 34)",
        arguments: TransportMode.available)
    func descriptorReuse(mode: TransportMode) throws {
        let server = try TestServer(mode, setUp: RecordingConnection.echo)
        let results = Recorder<Bool>()
        for worker in 0..<4 {
            Thread.detachNewThread {
                for round in 0..<50 {
                    let seed = UInt64(worker * 1000 + round)
                    let peer = try? Peer(connectingTo: server.address)
                    try? peer?.send(pattern(500, seed: seed))
                    let echoed = try? peer?.receive(exactly: 500)
                    if round % 3 == 0 { peer?.finishOutput() }
                    results.record(echoed == pattern(500, seed: seed))
                }
            }
        }
        #expect(try results.wait { $0.count == 200 }.allSatisfy { $0 })
        try server.recorder.wait { $0.count { $0.isClosed } == 200 }
        #expect(try server.thread.on { $0.channelCount } == 1)
        try server.join()
    }

    @Test(
        "a connection that is never started closes its socket once: when it is closed, or let go",
        arguments: TransportMode.available, [true, false])
    func neverStarted(mode: TransportMode, isClosed: Bool) throws {
        let loop = try EventLoop(mode.configuration)
        let recorder = Recorder<Happening>()
        var pair: [Int32] = [-1, -1]
        #expect(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &pair) == 0)
        let peer = Peer(fd: pair[1])
        let inode = socketInode(pair[0])
        do {
            let connection = RecordingConnection(loop, fd: pair[0], recorder)
            connection.write("never sent")
            #expect(loop.chunks.takenCount == 1)
            if isClosed {
                connection.close()
                #expect(!connection.write("closed"))
                connection.start()
                #expect(try !isOpen(inode: inode))
                // Takes the descriptor's number, if no other test is quicker.
                let next = open("/dev/null", O_RDONLY | O_CLOEXEC)
                connection.close()
                #expect(close(next) == 0, "closing twice closed another's descriptor")
            }
        }
        #expect(try peer.receiveToEnd() == [])
        #expect(try !isOpen(inode: inode))
        #expect(recorder.all == [] && loop.channelCount == 0 && loop.chunks.takenCount == 0)
    }

    @Test("bytes written before start() are sent by it (netty 37)", arguments: TransportMode.available)
    func writtenBeforeStart(mode: TransportMode) throws {
        let server = try TestServer(mode) { connection in
            connection.write("early")
            connection.finishOutput()
        }
        #expect(try Peer(connectingTo: server.address).receiveToEnd() == Array("early".utf8))
        try server.join()
    }
}
