import CSocket
import Foundation
import Testing

@testable import Transport
@testable import TransportTesting

/// What sends, connects and accepts come to, on every handler.
@Suite("Handlers: sending, connecting, accepting", .serialized)
struct HandlerSendTests {
    /// More than the kernel takes for a reader that does not read.
    private static let tooMuch = 1024 * 1024
    private static let bufferSize: Int32 = 32 * 1024

    @Test("a send completes with all its bytes", arguments: HandlerKind.available)
    func small(kind: HandlerKind) throws {
        let pair = try TCPPair()
        let driver = try HandlerDriver(kind)
        try driver.send(Array("hello".utf8), to: pair.left.fd)
        #expect(try driver.wait(for: 1) == [Told(.send, 5)])
        #expect(try pair.right.receive(exactly: 5) == Array("hello".utf8))
    }

    @Test(
        "a send takes what fits, then none; a poll tells of room, and the rest follows",
        arguments: HandlerKind.available)
    func large(kind: HandlerKind) throws {
        let pair = try TCPPair(bufferSize: Self.bufferSize)
        let driver = try HandlerDriver(kind)
        let bytes = pattern(Self.tooMuch)
        var sent = 0
        var isReading = false
        let received = Recorder<[UInt8]>()
        let reader = pair.right
        while sent < bytes.count {
            try driver.send(Array(bytes[sent...]), to: pair.left.fd)
            let told = try driver.wait(for: 1)[0]
            if told.result == -EAGAIN {
                if !isReading {
                    Thread.detachNewThread { received.record((try? reader.receive(exactly: Self.tooMuch)) ?? []) }
                    isReading = true
                }
                try driver.submit(.poll(fd: pair.left.fd, events: UInt32(POLLOUT), multishot: false), .pollWrite)
                let room = try driver.wait(for: 1)[0]
                #expect(room.kind == .pollWrite && room.result & Int32(POLLOUT) != 0)
            } else {
                try #require(told.kind == .send && told.result > 0)
                sent += Int(told.result)
            }
        }
        #expect(isReading, "the case was not reached")
        #expect(try received.next() == bytes)
    }

    @Test("a gathered message is sent as far as there is room, wherever in its parts", arguments: HandlerKind.available)
    func gathered(kind: HandlerKind) throws {
        let pair = try SocketPair()
        let driver = try HandlerDriver(kind)
        // Odd sizes and an empty part, so that the kernel stops anywhere.
        let parts = [
            pattern(70_001, seed: 1), [], pattern(1, seed: 2), pattern(1_000_017, seed: 3), pattern(5, seed: 4),
        ]
        let message = driver.message(parts)
        try driver.submit(.sendMessage(fd: pair.left, message: message), .send)
        let told = try driver.wait(for: 1)[0]
        let all = parts.flatMap { $0 }
        try #require(told.kind == .send && told.result > 0 && told.result < all.count)
        let reader = Peer(fd: dup(pair.right))
        #expect(try reader.receive(exactly: Int(told.result)) == Array(all[..<Int(told.result)]))
        #expect(message.pointee.msg_iovlen == parts.count, "the message is the caller's")
    }

    @Test(
        "a send without room ends with EAGAIN at once, and is not there to be cancelled",
        arguments: HandlerKind.available)
    func noRoom(kind: HandlerKind) throws {
        let pair = try SocketPair()
        var none = [UInt8](repeating: 0, count: 4096)
        while send(pair.left, &none, none.count, Int32(MSG_DONTWAIT)) > 0 {}
        let driver = try HandlerDriver(kind)
        try driver.send([1, 2, 3], to: pair.left)
        #expect(try driver.wait(for: 1) == [Told(.send, -EAGAIN)])
        try driver.cancel(.send)
        #expect(try driver.wait(for: 1) == [Told(.cancelSend, -ENOENT)])
    }

    @Test("a send to a peer that is gone ends with EPIPE, and no signal", arguments: HandlerKind.available)
    func broken(kind: HandlerKind) throws {
        let pair = try SocketPair()
        pair.finishOutput(of: pair.left)
        let driver = try HandlerDriver(kind)
        try driver.send([1], to: pair.left)
        #expect(try driver.wait(for: 1) == [Told(.send, -EPIPE)])
    }

    @Test("a reset behind bytes that were sent shows at the next send", arguments: HandlerKind.available)
    func resetHalfway(kind: HandlerKind) throws {
        let pair = try TCPPair(bufferSize: Self.bufferSize)
        let driver = try HandlerDriver(kind)
        try driver.send(pattern(Self.tooMuch), to: pair.left.fd)
        let told = try driver.wait(for: 1)[0]
        #expect(told.kind == .send && told.result > 0 && told.result < Self.tooMuch)
        pair.right.reset()
        try driver.submit(.poll(fd: pair.left.fd, events: UInt32(POLLIN), multishot: false), .poll)
        #expect(try driver.wait(for: 1)[0].kind == .poll)
        // Which of the two depends on who has taken the socket's error (EPIPE: nobody is left to take it).
        try driver.send([1], to: pair.left.fd)
        let failed = try driver.wait(for: 1)[0]
        #expect(failed.kind == .send && [-EPIPE, -ECONNRESET].contains(failed.result))
    }

    @Test("a send without copying tells its result, then that its memory is free", arguments: HandlerKind.available)
    func zeroCopy(kind: HandlerKind) throws {
        let pair = try TCPPair()
        let driver = try HandlerDriver(kind)
        let message = driver.message([pattern(10_000), pattern(20_000)])
        try driver.submit(.sendMessageZeroCopy(fd: pair.left.fd, message: message), .zeroCopySend2)
        let first = try driver.wait(for: 1)
        #expect(first == [Told(.zeroCopySend2, 30_000, more: true)])
        #expect(try pair.right.receive(exactly: 30_000) == pattern(10_000) + pattern(20_000))
        #expect(try driver.wait(for: 1) == [Told(.zeroCopySend2, 0, notification: true)])
    }

    @Test(
        "a multishot accept tells of each client; accepted sockets are in blocking mode",
        arguments: HandlerKind.available)
    func accepts(kind: HandlerKind) throws {
        let listener = Peer(fd: try Socket.listen(.anyLoopback, backlog: 8))
        let address = try #require(Socket.localAddress(of: listener.fd))
        let driver = try HandlerDriver(kind)
        let early = try Peer(connectingTo: address)
        try driver.submit(.accept(fd: listener.fd), .accept)
        let clients = [early, try Peer(connectingTo: address), try Peer(connectingTo: address)]
        for told in try driver.wait(for: clients.count) {
            #expect(told.kind == .accept && told.result >= 0 && told.hasMore)
            let accepted = Peer(fd: told.result)
            #expect(fcntl(accepted.fd, F_GETFL) & O_NONBLOCK == 0)
            #expect(fcntl(accepted.fd, F_GETFD) & FD_CLOEXEC != 0)
        }
        try driver.cancel(.accept)
        let ended = try driver.wait(for: 2)
        #expect(ended.contains(Told(.accept, -ECANCELED)) && ended.contains(Told(.cancelAccept, 0)))
        let late = try Peer(connectingTo: address)
        #expect(try driver.settled() == [])
        withExtendedLifetime(late) {}
    }

    @Test("a listening socket that somebody made non-blocking is accepted from", arguments: HandlerKind.available)
    func nonBlockingListener(kind: HandlerKind) throws {
        let listener = Peer(fd: try Socket.listen(.anyLoopback, backlog: 8))
        #expect(fcntl(listener.fd, F_SETFL, O_NONBLOCK) == 0)
        let driver = try HandlerDriver(kind)
        try driver.submit(.accept(fd: listener.fd), .accept)
        #expect(try driver.settled() == [], "it waits")
        let client = try Peer(connectingTo: #require(Socket.localAddress(of: listener.fd)))
        let told = try driver.wait(for: 1)[0]
        #expect(told.result >= 0 && told.hasMore)
        close(told.result)
        withExtendedLifetime(client) {}
    }

    @Test("accepting from what does not listen fails with EINVAL", arguments: HandlerKind.available)
    func notListening(kind: HandlerKind) throws {
        let fd = Peer(fd: try Socket.stream(AF_INET))
        let driver = try HandlerDriver(kind)
        try driver.submit(.accept(fd: fd.fd), .accept)
        #expect(try driver.wait(for: 1) == [Told(.accept, -EINVAL)])
    }

    @Test("a connect completes with 0, and leaves the socket in blocking mode", arguments: HandlerKind.available)
    func connects(kind: HandlerKind) throws {
        let listener = Peer(fd: try Socket.listen(.anyLoopback, backlog: 8))
        let fd = Peer(fd: try Socket.stream(AF_INET))
        let driver = try HandlerDriver(kind)
        try driver.connect(fd.fd, to: #require(Socket.localAddress(of: listener.fd)))
        #expect(try driver.wait(for: 1) == [Told(.connect, 0)])
        #expect(fcntl(fd.fd, F_GETFL) & O_NONBLOCK == 0)
        try fd.send("x")
        #expect(try driver.settled() == [], "it completes once")
    }

    @Test("a refused connect completes with ECONNREFUSED", arguments: HandlerKind.available)
    func refused(kind: HandlerKind) throws {
        // Bound and not listening: nobody else can listen there meanwhile.
        let nobody = Peer(fd: try Socket.stream(AF_INET))
        try Socket.bind(nobody.fd, to: .anyLoopback)
        let address = try #require(Socket.localAddress(of: nobody.fd))
        let fd = Peer(fd: try Socket.stream(AF_INET))
        let driver = try HandlerDriver(kind)
        try driver.connect(fd.fd, to: address)
        #expect(try driver.wait(for: 1) == [Told(.connect, -ECONNREFUSED)])
        withExtendedLifetime(nobody) {}
    }

    @Test(
        "a connect to a Unix-domain listener whose queue is full waits until there is room",
        arguments: HandlerKind.available)
    func fullQueue(kind: HandlerKind) throws {
        let address = SocketAddress.unix(path: "/tmp/ringmaster-\(getpid())-\(UInt32.random(in: 0 ... .max))")
        defer { if case .unix(let path) = address { unlink(path) } }
        let listener = Peer(fd: try Socket.listen(address, backlog: 0))
        let first = try Peer(connectingTo: address)
        let fd = Peer(fd: try Socket.stream(AF_UNIX))
        let driver = try HandlerDriver(kind)
        try driver.connect(fd.fd, to: address)
        try driver.run(until: .now + .milliseconds(20))
        #expect(try driver.settled() == [])
        close(csocket_accept(listener.fd))
        #expect(try driver.wait(for: 1) == [Told(.connect, 0)])
        withExtendedLifetime(first) {}
    }

    @Test("a connect that waits for a full queue can be cancelled", arguments: HandlerKind.available)
    func fullQueueCancelled(kind: HandlerKind) throws {
        let address = SocketAddress.unix(path: "/tmp/ringmaster-\(getpid())-\(UInt32.random(in: 0 ... .max))")
        defer { if case .unix(let path) = address { unlink(path) } }
        let listener = Peer(fd: try Socket.listen(address, backlog: 0))
        let first = try Peer(connectingTo: address)
        let fd = Peer(fd: try Socket.stream(AF_UNIX))
        let driver = try HandlerDriver(kind)
        try driver.connect(fd.fd, to: address)
        try driver.run(until: .now + .milliseconds(20))
        try driver.cancel(.connect)
        let told = try driver.wait(for: 2)
        // A ring's connect is in a kernel thread by then, which is interrupted: EALREADY, and EINTR for the connect.
        #expect(told.contains { $0.kind == .connect && [-ECANCELED, -EINTR].contains($0.result) })
        #expect(told.contains { $0.kind == .cancelConnect && [0, -EALREADY].contains($0.result) })
        withExtendedLifetime((listener, first)) {}
    }
}
