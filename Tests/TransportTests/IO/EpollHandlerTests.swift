import CSocket
import Foundation
import Testing

@testable import Transport
@testable import TransportTesting

/// What only the epoll handler has to see to.
@Suite("Epoll handler", .serialized)
struct EpollHandlerTests {
    @Test("a socket that was forgotten is watched no more, though it lives on elsewhere")
    func forgottenCopy() throws {
        let pair = try SocketPair()
        let driver = try HandlerDriver(.epoll)
        let handler = try #require(driver.handler as? EpollHandler)
        let own = try watchedCount(handler)
        let shared = dup(pair.left)
        try driver.submit(.receive(fd: shared, multishot: true), .receive)
        #expect(try watchedCount(handler) == own + 1)
        try driver.cancel(.receive)
        _ = try driver.wait(for: 2)
        handler.forget(HandlerDriver.one)
        close(shared)
        #expect(try watchedCount(handler) == own)
        try Peer(fd: dup(pair.right)).send("to nobody")
        #expect(try driver.settled() == [])
    }

    /// How many descriptors the epoll instance watches, as the kernel says (proc_pid_fdinfo(5)).
    private func watchedCount(_ handler: EpollHandler) throws -> Int {
        let text = try String(contentsOfFile: "/proc/self/fdinfo/\(handler.descriptor)", encoding: .utf8)
        return text.split(separator: "\n").count { $0.hasPrefix("tfd:") }
    }

    @Test("two registrations of one descriptor are both told, and end apart")
    func sameDescriptor() throws {
        let pair = try SocketPair()
        let driver = try HandlerDriver(.epoll)
        let peer = Peer(fd: dup(pair.right))
        for id in [HandlerDriver.one, HandlerDriver.two] {
            try driver.submit(.poll(fd: pair.left, events: UInt32(POLLIN), multishot: true), .poll, id)
        }
        try peer.send("x")
        #expect(try driver.wait(for: 2).allSatisfy { $0 == Told(.poll, Int32(POLLIN), more: true) })
        try driver.cancel(.poll, HandlerDriver.one)
        _ = try driver.wait(for: 2)
        driver.handler.forget(HandlerDriver.one)
        try peer.send("x")
        #expect(try driver.wait(for: 1) == [Told(.poll, Int32(POLLIN), more: true)])
        #expect(try driver.settled() == [])
    }

    @Test(
        "the copy of a descriptor that was registered twice is closed, whether forgotten or not",
        arguments: [true, false])
    func copyIsClosed(isForgotten: Bool) async {
        await #expect(processExitsWith: .success) { [isForgotten] in
            let before = openSockets()
            do {
                let pair = try SocketPair()
                let driver = try HandlerDriver(.epoll)
                for id in [HandlerDriver.one, HandlerDriver.two] {
                    try driver.submit(.poll(fd: pair.left, events: UInt32(POLLIN), multishot: false), .poll, id)
                }
                for id in [HandlerDriver.one, HandlerDriver.two] where isForgotten {
                    try driver.cancel(.poll, id)
                    _ = try driver.wait(for: 2)
                    driver.handler.forget(id)
                }
            }
            #expect(openSockets() == before)
        }
    }

    @Test("a descriptor that epoll did not take is not closed with the handler: its number may be another's by then")
    func refusedDescriptor() async {
        await #expect(processExitsWith: .success) {
            let number: Int32 = 200
            do {
                let driver = try HandlerDriver(.epoll)
                close(number)
                try driver.submit(.poll(fd: number, events: UInt32(POLLIN), multishot: false), .poll)
                #expect(try driver.wait(for: 1) == [Told(.poll, -EBADF)])
                #expect(dup2(STDERR_FILENO, number) == number)
            }
            #expect(fcntl(number, F_GETFD) >= 0)
        }
    }

    @Test("a regular file, which epoll does not take, is always ready")
    func regularFile() throws {
        let driver = try HandlerDriver(.epoll)
        let file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC)
        defer { close(file) }
        try driver.submit(.poll(fd: file, events: UInt32(POLLIN), multishot: false), .poll)
        #expect(try driver.wait(for: 1) == [Told(.poll, Int32(POLLIN))])
        try driver.submit(.receive(fd: file, multishot: true), .receive)
        #expect(try driver.wait(for: 1) == [Told(.receive, -ENOTSOCK)])
    }

    @Test("a socket full of bytes does not hold up another one")
    func fairness() throws {
        let (flood, ping) = (try SocketPair(), try SocketPair())
        let driver = try HandlerDriver(.epoll, buffers: 256, bufferSize: 4)
        try Peer(fd: dup(flood.right)).send(pattern(400))
        try Peer(fd: dup(ping.right)).send("ping")
        try driver.submit(.receive(fd: flood.left, multishot: true), .receive, HandlerDriver.one)
        try driver.submit(.receive(fd: ping.left, multishot: true), .receive, HandlerDriver.two)
        // What was there goes on the list of the next run after a bounded number of buffers.
        let first = try driver.completions(EpollCore.callsPerRunMax + 1).map(\.0.userData.registration)
        #expect(first.count { $0 == HandlerDriver.one } == EpollCore.callsPerRunMax)
        #expect(first.last == HandlerDriver.two)
        // And the rest comes without an edge: nobody sends any more.
        let rest = try driver.completions(100 - EpollCore.callsPerRunMax).map(\.0.userData.registration)
        #expect(rest.allSatisfy { $0 == HandlerDriver.one })
    }

    @Test("busy registrations do not keep events from others: every other run asks for them")
    func asksForEvents() throws {
        let (busy, other) = (try TCPPair(), try TCPPair())
        let driver = try HandlerDriver(.epoll)
        try driver.submit(.receive(fd: other.left.fd, multishot: true), .receive, HandlerDriver.two)
        #expect(try driver.settled() == [])
        try other.right.send("x")
        // There is a completion for each run already; without asking, the other's bytes would never be seen.
        var runs = 0
        var told: [Told] = []
        while !told.contains(where: { $0.kind == .receive }), runs < 1000 {
            try driver.send([1], to: busy.left.fd)
            told += try driver.wait(for: 1)
            runs += 1
        }
        #expect(told.contains(Told(.receive, 1, "x", more: true)))
    }

    @Test("the event array doubles after a wait that filled it, up to its bound")
    func growth() throws {
        var configuration = EpollConfiguration()
        configuration.eventCapacity = .growable(initial: 1, max: 3)
        let driver = try HandlerDriver(.epoll, epoll: configuration)
        let handler = try #require(driver.handler as? EpollHandler)
        let pairs = try (0..<8).map { _ in try SocketPair() }
        for (index, pair) in pairs.enumerated() {
            let id = RegistrationID(slot: UInt32(index + 1), generation: 0)
            try driver.submit(.poll(fd: pair.left, events: UInt32(POLLIN), multishot: true), .poll, id)
        }
        #expect(handler.eventCapacity == 1)
        for pair in pairs { try Peer(fd: dup(pair.right)).send("x") }
        // Nobody is left out, however few events fit.
        let told = try driver.completions(8).map(\.0.userData.registration.slot)
        #expect(Set(told).count == 8)
        #expect(handler.eventCapacity == 3)
    }

    @Test("a fixed event array stays as it is")
    func fixedCapacity() throws {
        var configuration = EpollConfiguration()
        configuration.eventCapacity = .fixed(1)
        let driver = try HandlerDriver(.epoll, epoll: configuration)
        let pairs = try (0..<3).map { _ in try SocketPair() }
        for (index, pair) in pairs.enumerated() {
            let id = RegistrationID(slot: UInt32(index + 1), generation: 0)
            try driver.submit(.poll(fd: pair.left, events: UInt32(POLLIN), multishot: true), .poll, id)
            try Peer(fd: dup(pair.right)).send("x")
        }
        #expect(Set(try driver.completions(3).map(\.0.userData.registration.slot)).count == 3)
        #expect((driver.handler as? EpollHandler)?.eventCapacity == 1)
    }

    @Test("registrations with high slots have room, and the others stay")
    func manySlots() throws {
        let (low, high) = (try SocketPair(), try SocketPair())
        let driver = try HandlerDriver(.epoll)
        let id = RegistrationID(slot: 10_000, generation: RegistrationID.generationMax)
        try driver.submit(.receive(fd: low.left, multishot: true), .receive)
        try driver.submit(.receive(fd: high.left, multishot: true), .receive, id)
        try Peer(fd: dup(low.right)).send("low")
        try Peer(fd: dup(high.right)).send("high")
        let told = try driver.wait(for: 2)
        #expect(told.contains(Told(.receive, 3, "low", more: true)))
        #expect(told.contains(Told(.receive, 4, "high", more: true)))
    }

    @Test("completions that do not fit into a batch come with the next, in order")
    func smallBatches() throws {
        let pair = try SocketPair()
        let driver = try HandlerDriver(.epoll, buffers: 64, bufferSize: 1, batch: 3)
        try Peer(fd: dup(pair.right)).send("0123456789")
        try driver.submit(.receive(fd: pair.left, multishot: true), .receive)
        var bytes = ""
        for count in [3, 3, 3, 1] {
            #expect(try driver.run(until: nil) == count)
            bytes += try driver.wait(for: count).compactMap(\.bytes).joined()
        }
        #expect(bytes == "0123456789")
    }

    @Test("a buffer comes back before one that has not been used lately")
    func hotBufferFirst() throws {
        let pair = try TCPPair()
        let driver = try HandlerDriver(.epoll)
        try driver.submit(.receive(fd: pair.left.fd, multishot: true), .receive)
        var used: Set<UInt16> = []
        for _ in 0..<5 {
            try pair.right.send("x")
            let buffer = try #require(try driver.completions(1)[0].0.buffer)
            used.insert(buffer)
            driver.returnBuffer(buffer)
        }
        #expect(used.count == 1)
    }
}

/// How many sockets this process has open, by whichever descriptors.
private func openSockets() -> Int {
    (0..<Int32(1024)).count { fd in
        var status = stat()
        return fstat(fd, &status) == 0 && status.st_mode & S_IFMT == S_IFSOCK
    }
}
