import CSocket
import Glibc
import Testing

@testable import Transport
@testable import TransportTesting

/// What a receive comes to, stated once and tried on every handler: the ring shows that it is stated rightly.
@Suite("Handlers: receiving", .serialized)
struct HandlerReceiveTests {
    @Test(
        "a multishot receive tells of bytes as they come, and of the end without a buffer",
        arguments: HandlerKind.available)
    func multishot(kind: HandlerKind) throws {
        let pair = try TCPPair()
        let driver = try HandlerDriver(kind)
        try driver.submit(.receive(fd: pair.left.fd, multishot: true), .receive)
        #expect(try driver.settled() == [])
        try pair.right.send("hello")
        #expect(try driver.wait(for: 1) == [Told(.receive, 5, "hello", more: true)])
        try pair.right.send("again")
        #expect(try driver.wait(for: 1) == [Told(.receive, 5, "again", more: true)])
        pair.right.finishOutput()
        #expect(try driver.wait(for: 1) == [Told(.receive, 0)])
        #expect(try driver.settled() == [])
    }

    @Test("bytes and the end that were there before the receive are told at once", arguments: HandlerKind.available)
    func early(kind: HandlerKind) throws {
        let pair = try TCPPair()
        let driver = try HandlerDriver(kind)
        try pair.right.send("early")
        pair.right.finishOutput()
        try driver.submit(.receive(fd: pair.left.fd, multishot: true), .receive)
        #expect(try driver.wait(for: 2) == [Told(.receive, 5, "early", more: true), Told(.receive, 0)])
    }

    @Test("bytes beyond one buffer go to the next ones, without another edge", arguments: HandlerKind.available)
    func severalBuffers(kind: HandlerKind) throws {
        let pair = try TCPPair()
        let driver = try HandlerDriver(kind, bufferSize: 4)
        try pair.right.send("0123456789")
        try eventually { Peer.unreadBytes(pair.left.fd) == 10 }
        try driver.submit(.receive(fd: pair.left.fd, multishot: true), .receive)
        #expect(
            try driver.wait(for: 3) == [
                Told(.receive, 4, "0123", more: true), Told(.receive, 4, "4567", more: true),
                Told(.receive, 2, "89", more: true),
            ])
        #expect(try driver.settled() == [])
    }

    @Test("a receive that is not multishot completes once, and leaves the rest", arguments: HandlerKind.available)
    func oneShot(kind: HandlerKind) throws {
        let pair = try SocketPair()
        let driver = try HandlerDriver(kind, bufferSize: 4)
        try driver.submit(.receive(fd: pair.left, multishot: false), .receive)
        try Peer(fd: dup(pair.right)).send("first")
        #expect(try driver.wait(for: 1) == [Told(.receive, 4, "firs")])
        #expect(try driver.settled() == [])
        // What is left is told without an edge.
        try driver.submit(.receive(fd: pair.left, multishot: false), .receive)
        #expect(try driver.wait(for: 1) == [Told(.receive, 1, "t")])
    }

    @Test(
        "a receive ends with ENOBUFS when there are bytes and no buffer, and only then",
        arguments: HandlerKind.available)
    func exhausted(kind: HandlerKind) throws {
        let pair = try TCPPair()
        let driver = try HandlerDriver(kind, bufferSize: 4, given: 1)
        try driver.submit(.receive(fd: pair.left.fd, multishot: true), .receive)
        try pair.right.send("0123")
        let first = try driver.completions(1)[0]
        #expect(first.1 == Told(.receive, 4, "0123", more: true))
        #expect(try driver.settled() == [], "no bytes, so no buffer is missed")
        try pair.right.send("4567")
        #expect(try driver.wait(for: 1) == [Told(.receive, -ENOBUFS)])
        try driver.submit(.receive(fd: pair.left.fd, multishot: true), .receive)
        #expect(try driver.wait(for: 1) == [Told(.receive, -ENOBUFS)], "still none")
        driver.returnBuffer(try #require(first.0.buffer))
        try driver.submit(.receive(fd: pair.left.fd, multishot: true), .receive)
        #expect(try driver.wait(for: 1) == [Told(.receive, 4, "4567", more: true)])
    }

    @Test("a receive without a free buffer waits as long as there are no bytes", arguments: HandlerKind.available)
    func exhaustedEarly(kind: HandlerKind) throws {
        let (busy, idle) = (try TCPPair(), try TCPPair())
        let driver = try HandlerDriver(kind, bufferSize: 4, given: 1)
        try busy.right.send("0123")
        try driver.submit(.receive(fd: busy.left.fd, multishot: true), .receive, HandlerDriver.two)
        let first = try driver.completions(1)[0]
        try driver.submit(.receive(fd: idle.left.fd, multishot: true), .receive)
        #expect(try driver.settled() == [])
        driver.returnBuffer(try #require(first.0.buffer))
        try idle.right.send("late")
        #expect(try driver.wait(for: 1) == [Told(.receive, 4, "late", more: true)])
    }

    @Test("a reset ends a receive with ECONNRESET", arguments: HandlerKind.available)
    func reset(kind: HandlerKind) throws {
        let pair = try TCPPair()
        let driver = try HandlerDriver(kind)
        try driver.submit(.receive(fd: pair.left.fd, multishot: true), .receive)
        #expect(try driver.settled() == [])
        pair.right.reset()
        #expect(try driver.wait(for: 1) == [Told(.receive, -ECONNRESET)])
    }

    @Test("a receive on something closed fails with EBADF", arguments: HandlerKind.available)
    func closed(kind: HandlerKind) throws {
        let driver = try HandlerDriver(kind)
        // A number far beyond any limit, which nobody else opens.
        try driver.submit(.receive(fd: 1 << 30, multishot: true), .receive)
        #expect(try driver.wait(for: 1) == [Told(.receive, -EBADF)])
    }

    @Test(
        "a cancelled receive ends with ECANCELED, and bytes that come later wait for the next",
        arguments: HandlerKind.available)
    func cancelled(kind: HandlerKind) throws {
        let pair = try TCPPair()
        let driver = try HandlerDriver(kind)
        try driver.submit(.receive(fd: pair.left.fd, multishot: true), .receive)
        #expect(try driver.settled() == [])
        try driver.cancel(.receive)
        let ended = try driver.wait(for: 2)
        #expect(ended.contains(Told(.receive, -ECANCELED)) && ended.contains(Told(.cancelReceive, 0)))
        try pair.right.send("later")
        #expect(try driver.settled() == [])
        try driver.submit(.receive(fd: pair.left.fd, multishot: true), .receive)
        #expect(try driver.wait(for: 1) == [Told(.receive, 5, "later", more: true)])
    }

    @Test("the cancellation of nothing completes with ENOENT", arguments: HandlerKind.available)
    func cancelledNothing(kind: HandlerKind) throws {
        let driver = try HandlerDriver(kind)
        try driver.cancel(.receive)
        try driver.cancel(.send, HandlerDriver.two)
        #expect(try driver.wait(for: 2) == [Told(.cancelReceive, -ENOENT), Told(.cancelSend, -ENOENT)])
    }

    @Test("bytes behind one out of band are received without another edge", arguments: HandlerKind.available)
    func outOfBand(kind: HandlerKind) throws {
        let pair = try TCPPair()
        let driver = try HandlerDriver(kind)
        try driver.submit(.receive(fd: pair.left.fd, multishot: true), .receive)
        #expect(try driver.settled() == [])
        try pair.right.send("before")
        #expect(Glibc.send(pair.right.fd, "!", 1, Int32(MSG_OOB)) == 1)
        try pair.right.send("behind")
        try eventually { Peer.unreadBytes(pair.left.fd) > 0 }
        // FIONREAD stops at the mark: that the rest has come is seen from what the peer has in its queue.
        try eventually {
            var unacknowledged: Int32 = 0
            return ioctl(pair.right.fd, UInt(TIOCOUTQ), &unacknowledged) == 0 && unacknowledged == 0
        }
        var bytes = ""
        while bytes.count < 12 { bytes += try driver.wait(for: 1)[0].bytes ?? "" }
        #expect(bytes == "beforebehind")
    }

    @Test(
        "bytes behind descriptors on a Unix-domain socket are received without another edge",
        arguments: HandlerKind.available)
    func descriptorsBetween(kind: HandlerKind) throws {
        let pair = try SocketPair()
        let driver = try HandlerDriver(kind)
        try driver.submit(.receive(fd: pair.left, multishot: true), .receive)
        #expect(try driver.settled() == [])
        // The kernel ends a receive behind bytes that carry descriptors, as if there were no others.
        var fds: [Int32] = [0]
        #expect(csocket_send(pair.right, "one", 3, &fds, 1) == 3)
        #expect(csocket_send(pair.right, "two", 3, nil, 0) == 3)
        #expect(
            try driver.wait(for: 2) == [Told(.receive, 3, "one", more: true), Told(.receive, 3, "two", more: true)])
    }
}
