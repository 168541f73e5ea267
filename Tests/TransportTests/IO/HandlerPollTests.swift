import CSocket
import Foundation
import Testing

@testable import Transport
@testable import TransportTesting

/// What polls, waits and wake-ups come to, on every handler.
@Suite("Handlers: polling and waiting", .serialized)
struct HandlerPollTests {
    private static let readable = UInt32(POLLIN)
    private static let peerFinished = UInt32(CSOCKET_POLLRDHUP)

    @Test("a poll tells at once what holds already", arguments: HandlerKind.available)
    func ready(kind: HandlerKind) throws {
        let pair = try TCPPair()
        let driver = try HandlerDriver(kind)
        try driver.submit(.poll(fd: pair.left.fd, events: UInt32(POLLIN | POLLOUT), multishot: false), .poll)
        #expect(try driver.wait(for: 1) == [Told(.poll, Int32(POLLOUT))])
    }

    @Test("a poll waits for its event and completes once", arguments: HandlerKind.available)
    func waits(kind: HandlerKind) throws {
        let pair = try TCPPair()
        let driver = try HandlerDriver(kind)
        try driver.submit(.poll(fd: pair.left.fd, events: Self.readable, multishot: false), .poll)
        #expect(try driver.settled() == [])
        try pair.right.send("x")
        #expect(try driver.wait(for: 1) == [Told(.poll, Int32(POLLIN))])
        try pair.right.send("x")
        #expect(try driver.settled() == [])
    }

    @Test("a multishot poll tells of each edge", arguments: HandlerKind.available)
    func edges(kind: HandlerKind) throws {
        let pair = try TCPPair()
        let driver = try HandlerDriver(kind)
        try driver.submit(.poll(fd: pair.left.fd, events: Self.readable, multishot: true), .poll)
        #expect(try driver.settled() == [])
        for _ in 0..<3 {
            try pair.right.send("x")
            #expect(try driver.wait(for: 1) == [Told(.poll, Int32(POLLIN), more: true)])
            _ = try pair.left.receive()
        }
        try driver.cancel(.poll)
        let ended = try driver.wait(for: 2)
        #expect(ended.contains(Told(.poll, -ECANCELED)) && ended.contains(Told(.cancelPoll, 0)))
    }

    @Test("POLLRDHUP is told unasked, beside what was asked for", arguments: HandlerKind.available)
    func unasked(kind: HandlerKind) throws {
        let pair = try TCPPair()
        let driver = try HandlerDriver(kind)
        pair.right.finishOutput()
        try eventually { csocket_poll_now(pair.left.fd, Self.peerFinished) != 0 }
        try driver.submit(.poll(fd: pair.left.fd, events: Self.readable, multishot: false), .poll)
        #expect(try driver.wait(for: 1) == [Told(.poll, Int32(Self.readable | Self.peerFinished))])
    }

    @Test("a multishot poll for the peer's end tells of FIN, then of RST", arguments: HandlerKind.available)
    func peerEnds(kind: HandlerKind) throws {
        let pair = try TCPPair()
        let driver = try HandlerDriver(kind)
        try driver.submit(.poll(fd: pair.left.fd, events: Self.peerFinished, multishot: true), .poll)
        #expect(try driver.settled() == [])
        pair.right.finishOutput()
        #expect(try driver.wait(for: 1) == [Told(.poll, Int32(Self.peerFinished), more: true)])
        pair.right.reset()
        let told = try driver.wait(for: 1)[0]
        #expect(told.result & Int32(POLLERR | POLLHUP) == Int32(POLLERR | POLLHUP))
    }

    @Test("a wait for room to write ends when the reader reads", arguments: HandlerKind.available)
    func room(kind: HandlerKind) throws {
        let pair = try SocketPair()
        var filling = [UInt8](repeating: 1, count: 4096)
        while send(pair.left, &filling, filling.count, Int32(MSG_DONTWAIT)) > 0 {}
        let driver = try HandlerDriver(kind)
        try driver.submit(.poll(fd: pair.left, events: UInt32(POLLOUT), multishot: false), .pollWrite)
        #expect(try driver.settled() == [])
        while recv(pair.right, &filling, filling.count, Int32(MSG_DONTWAIT)) > 0 {}
        #expect(try driver.wait(for: 1) == [Told(.pollWrite, Int32(POLLOUT))])
    }

    @Test("a wait without a deadline returns at once", arguments: HandlerKind.available)
    func noWait(kind: HandlerKind) throws {
        #expect(try HandlerDriver(kind).run(until: nil) == 0)
    }

    @Test("a wait ends at its deadline and not before, several times", arguments: HandlerKind.available)
    func deadline(kind: HandlerKind) throws {
        let driver = try HandlerDriver(kind)
        for microseconds in [300, 20_000, 300] {
            let deadline = MonotonicTime.now + .microseconds(microseconds)
            var runs = 0
            // The wake-up of an earlier deadline may end a wait too soon; then the loop waits again.
            while .now < deadline, runs < 10 {
                try driver.run(until: deadline)
                runs += 1
            }
            #expect(MonotonicTime.now >= deadline && runs <= 3)
        }
    }

    @Test("another thread ends a wait, as often as it likes", arguments: HandlerKind.available)
    func wakeup(kind: HandlerKind) throws {
        let driver = try HandlerDriver(kind)
        let wakeup = driver.wakeup
        for _ in 0..<3 {
            #expect(wakeup.prepareToSleep())
            Thread.detachNewThread { wakeup.signal() }
            // Without the wake-up this would throw: 10 s are over then.
            let limit = MonotonicTime.now + .seconds(10)
            try driver.run(until: limit)
            #expect(MonotonicTime.now < limit)
            _ = wakeup.awoke()
        }
    }
}
