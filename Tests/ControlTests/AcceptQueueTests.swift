import Foundation
import Testing

@testable import Supervisor
@testable import Transport
@testable import TransportTesting

@Suite("accept queues, as the kernel tells them")
struct AcceptQueueTests {
    private static let families = ["127.0.0.1", "::1", "unix"]

    private static func address(_ family: String, in directory: ScratchDirectory) throws -> SocketAddress {
        if family == "unix" { return .unix(path: directory.file("listener-\(UUID().uuidString.prefix(4))")) }
        return try #require(SocketAddress(numericHost: family, port: 0))
    }

    private static func listen(_ family: String, in directory: ScratchDirectory, backlog: Int32) throws -> Int32 {
        let address = try address(family, in: directory)
        do {
            return try Socket.listen(address, backlog: backlog)
        } catch {
            if family == "::1" { try Test.cancel("no IPv6 here: \(error)") }
            throw error
        }
    }

    private static func connect(_ listener: Int32) throws -> Peer {
        try Peer(connectingTo: try #require(Socket.localAddress(of: listener)))
    }

    @Test("connections that nobody accepts are told as the depth, the backlog as the limit", arguments: families)
    func depth(family: String) throws {
        let directory = try ScratchDirectory()
        let listener = try Self.listen(family, in: directory, backlog: 7)
        defer { close(listener) }
        let drops = family == "unix" ? nil : 0
        var clients: [Peer] = []
        for depth in 0...4 {
            // A TCP client may know of its connection a moment before the listener's queue has it.
            try eventually { AcceptQueues.read(sockets: [listener]).queues[0]?.depth == depth }
            let reading = AcceptQueues.read(sockets: [listener])
            #expect(reading.queues == [AcceptQueue(depth: depth, limit: 7, drops: drops)])
            #expect(reading.problem == nil)
            clients.append(try Self.connect(listener))
        }
        close(accept(listener, nil, nil))
        #expect(AcceptQueues.read(sockets: [listener]).queues[0]?.depth == 4)
        withExtendedLifetime(clients) {}
    }

    @Test("each of many listeners has its own queue, in the order asked for")
    func order() throws {
        let directory = try ScratchDirectory()
        var listeners: [Int32] = []
        var clients: [Peer] = []
        defer { for listener in listeners { close(listener) } }
        for index in 0..<9 {
            let family = index % 2 == 0 ? "127.0.0.1" : "unix"
            let listener = try Self.listen(family, in: directory, backlog: Int32(20 + index))
            listeners.append(listener)
            for _ in 0..<index { clients.append(try Self.connect(listener)) }
        }
        let expected = Array(0..<9)
        try eventually { AcceptQueues.read(sockets: listeners).queues.map { $0?.depth } == expected }
        #expect(AcceptQueues.read(sockets: listeners).queues.map { $0?.limit } == expected.map { 20 + $0 })
        withExtendedLifetime(clients) {}
    }

    @Test("a descriptor that is no listener has no queue, and those beside it keep theirs")
    func noListener() throws {
        let listener = try Socket.listen(.anyLoopback, backlog: 3)
        defer { close(listener) }
        let pair = try streamPair()
        defer { close(pair.near) }
        let reading = AcceptQueues.read(sockets: [-1, listener, STDIN_FILENO])
        #expect(reading.queues == [nil, AcceptQueue(depth: 0, limit: 3, drops: 0), nil])
        #expect(reading.problem == nil)
        #expect(AcceptQueues.read(sockets: []).queues.isEmpty)
    }

    @Test("TCP: what comes to a full queue is dropped and counted; the queue holds one more than its limit")
    func overflow() throws {
        let listener = try Socket.listen(.anyLoopback, backlog: 1)
        defer { close(listener) }
        var clients = [try Self.connect(listener), try Self.connect(listener)]
        try eventually { AcceptQueues.read(sockets: [listener]).queues[0]?.depth == 2 }
        #expect(AcceptQueues.read(sockets: [listener]).queues == [AcceptQueue(depth: 2, limit: 1, drops: 0)])
        let address = try #require(Socket.localAddress(of: listener))
        for _ in 0..<3 {
            let fd = try Socket.stream(AF_INET)
            _ = fcntl(fd, F_SETFL, O_NONBLOCK)
            #expect(address.withSockaddr { Glibc.connect(fd, $0, $1) } != 0 && errno == EINPROGRESS)
            clients.append(Peer(fd: fd))
        }
        try eventually { AcceptQueues.read(sockets: [listener]).queues[0]?.drops ?? 0 >= 3 }
        #expect(AcceptQueues.read(sockets: [listener]).queues[0]?.depth == 2)
        withExtendedLifetime(clients) {}
    }

    @Test("Unix-domain: a full queue refuses with EAGAIN, which no counter tells")
    func unixOverflow() throws {
        let directory = try ScratchDirectory()
        let path = directory.file()
        let listener = try Socket.listen(.unix(path: path), backlog: 1)
        defer { close(listener) }
        let clients = [try Self.connect(listener), try Self.connect(listener)]
        let fd = try Socket.stream(AF_UNIX)
        defer { close(fd) }
        _ = fcntl(fd, F_SETFL, O_NONBLOCK)
        #expect(SocketAddress.unix(path: path).withSockaddr { Glibc.connect(fd, $0, $1) } != 0 && errno == EAGAIN)
        #expect(AcceptQueues.read(sockets: [listener]).queues == [AcceptQueue(depth: 2, limit: 1, drops: nil)])
        withExtendedLifetime(clients) {}
    }

    @Test("a process without any capability is told too", .needsRoot)
    func unprivileged() async {
        await #expect(processExitsWith: .success) {
            #expect(setuid(65534) == 0)
            let directory = try ScratchDirectory()
            let listeners = [
                try Socket.listen(.anyLoopback, backlog: 4),
                try Socket.listen(.unix(path: directory.file()), backlog: 4),
            ]
            let reading = AcceptQueues.read(sockets: listeners)
            #expect(reading.problem == nil)
            #expect(reading.queues.map { $0?.limit } == [4, 4])
        }
    }

    @Test("where the kernel does not tell, the queues are unknown and the reason is said")
    func problem() async {
        await #expect(processExitsWith: .success) {
            let listener = try Socket.listen(.anyLoopback, backlog: 4)
            let table = FullTable()
            let reading = AcceptQueues.read(sockets: [listener])
            table.release()
            #expect(reading.queues == [nil])
            #expect(reading.problem == "the kernel does not tell: sock_diag: Too many open files")
        }
    }
}
