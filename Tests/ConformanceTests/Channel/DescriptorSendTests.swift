import CSocket
import Foundation
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Connection: sending descriptors")
struct DescriptorSendTests {
    /// What one recvmsg(2) brought.
    private struct Arrival: Equatable {
        var bytes: [UInt8]
        var descriptors: [OwnedDescriptor]

        static func == (left: Self, right: Self) -> Bool {
            left.bytes == right.bytes && left.files == right.files
        }

        var files: [FileIdentity?] { descriptors.map { FileIdentity($0.fd) } }
    }

    /// The next message, or nil when there is none within 10 s.
    private static func receive(_ peer: Peer, upTo capacity: Int = 65536) throws -> Arrival {
        var buffer = [UInt8](repeating: 0, count: capacity)
        var message = csocket_message()
        try eventually("message") { csocket_receive(peer.fd, &buffer, capacity, &message) != -EAGAIN }
        #expect(message.fds_truncated == 0)
        let fds = withUnsafeBytes(of: message.fds) { Array($0.bindMemory(to: Int32.self)) }
        return Arrival(
            bytes: Array(buffer.prefix(Int(message.length))),
            descriptors: fds.prefix(Int(message.fd_count)).map { OwnedDescriptor($0) })
    }

    private static func files(_ count: Int) throws -> [OwnedDescriptor] {
        try (0..<count).map { try TestFile([UInt8($0)]).descriptor }
    }

    private static func write(_ connection: Connection, _ bytes: [UInt8], _ descriptors: [OwnedDescriptor]) -> Bool {
        bytes.withUnsafeBytes { connection.write($0, descriptors: descriptors) }
    }

    @Test(
        "descriptors come with the first of their own bytes, and with none of those behind (netty 62)",
        arguments: TransportMode.available)
    func boundaries(mode: TransportMode) throws {
        let server = try TestServer(mode, .temporaryUnix())
        let peer = try Peer(connectingTo: server.address)
        let files = try Self.files(3)
        try server.first { connection in
            connection.write("before")
            #expect(Self.write(connection, Array("one".utf8), [files[0]]))
            #expect(Self.write(connection, Array("two".utf8), [files[1], files[2]]))
            connection.write("behind")
            #expect(Self.write(connection, Array("none".utf8), []))
            #expect(connection.queuedBytes == 22)
            connection.finishOutput()
        }
        // What is written before descriptors is sent by a call of its own, and read by one until they are there.
        try server.recorder.wait { $0.first == .flushed }
        // The kernel ends a read behind bytes that came with descriptors, but not before them.
        #expect(try Self.receive(peer) == Arrival(bytes: Array("beforeone".utf8), descriptors: [files[0]]))
        #expect(try Self.receive(peer) == Arrival(bytes: Array("two".utf8), descriptors: [files[1], files[2]]))
        #expect(try peer.receiveToEnd() == Array("behindnone".utf8))
        peer.finishOutput()
        #expect(try server.recorder.waitForEnd() == .finished)
        #expect(server.recorder.events == [.flushed, .inputEnded, .closed(.finished)])
        try server.join()
    }

    @Test(
        "sixteen descriptors fit one message, which may be longer than the receiver asks for",
        arguments: TransportMode.available)
    func sixteen(mode: TransportMode) throws {
        let server = try TestServer(mode, .temporaryUnix())
        let peer = try Peer(connectingTo: server.address)
        let files = try Self.files(16)
        try server.first { #expect(Self.write($0, pattern(40_000), files)) }
        let first = try Self.receive(peer, upTo: 1000)
        #expect(first == Arrival(bytes: Array(pattern(40_000)[..<1000]), descriptors: files))
        #expect(try peer.receive(exactly: 39_000) == Array(pattern(40_000)[1000...]))
        try server.join()
    }

    @Test(
        "messages, file regions and bytes to a slow reader: each descriptor arrives at its place in the stream",
        arguments: TransportMode.available, UInt64(1)...4)
    func mixed(mode: TransportMode, seed: UInt64) throws {
        let server = try TestServer(mode, .temporaryUnix()) { _ = Socket.set($0.fd, SOL_SOCKET, SO_SNDBUF, 4096) }
        let peer = try Peer(connectingTo: server.address)
        let endless = EndlessPattern(seed: seed)
        let content = try TestFile(Array(endless.piece(at: 0, count: 1 << 20)))
        let files = try Self.files(8)
        let total = 600_000
        let expected = Recorder<(bytes: Range<Int>, file: FileIdentity?)>()
        try server.first { connection in
            var generator = SeededGenerator(seed: seed)
            var written = 0
            while written < total {
                let count = min(Int.random(in: 1...20_000, using: &generator), total - written)
                let piece = endless.piece(at: written, count: count)
                switch Int.random(in: 0..<3, using: &generator) {
                case 0:
                    let file = files.randomElement(using: &generator)!
                    expected.record((written..<written + count, FileIdentity(file.fd)))
                    #expect(Self.write(connection, Array(piece), [file]))
                case 1:
                    #expect(throws: Never.self) {
                        connection.write(file: try content.region(written % 65_537, count))
                    }
                default:
                    _ = piece.withUnsafeBytes { connection.write($0) }
                }
                written += count
            }
            connection.finishOutput()
        }
        var received = 0
        var found = 0
        while case let arrival = try Self.receive(peer, upTo: 9000), !arrival.bytes.isEmpty {
            try #require(endless.matches(arrival.bytes, at: received))
            for file in arrival.files {
                let message = expected.all[found]
                #expect(file == message.file)
                #expect(
                    received <= message.bytes.lowerBound && message.bytes.lowerBound < received + arrival.bytes.count)
                #expect(received + arrival.bytes.count <= message.bytes.upperBound, "bytes behind the message")
                found += 1
            }
            received += arrival.bytes.count
        }
        #expect(received == total && found == expected.all.count && found > 5)
        try server.join()
    }

    @Test(
        "a descriptor is kept until it has been sent, and closed then; one that is dropped is closed too",
        arguments: TransportMode.available)
    func ownership(mode: TransportMode) throws {
        let server = try TestServer(mode, .temporaryUnix()) { _ = Socket.set($0.fd, SOL_SOCKET, SO_SNDBUF, 4096) }
        let peer = try Peer(connectingTo: server.address)
        weak let sent: OwnedDescriptor?
        weak let dropped: OwnedDescriptor?
        do {
            let files = try Self.files(2)
            (sent, dropped) = (files[0], files[1])
            try server.first { connection in
                connection.write(pattern(100_000))
                #expect(Self.write(connection, [1], [files[0]]))
                connection.write(pattern(100_000))
                #expect(Self.write(connection, [2], [files[1]]))
            }
        }
        try server.thread.settle()
        #expect(sent != nil && dropped != nil, "the socket is full")
        #expect(try peer.receive(exactly: 100_000) == pattern(100_000))
        #expect(try Self.receive(peer).descriptors.count == 1)
        try eventually("closed") { sent == nil }
        #expect(dropped != nil)
        try server.first { $0.close() }
        #expect(try server.recorder.waitForEnd() == .closed)
        try eventually("closed") { dropped == nil }
        try server.join()
    }

    @Test(
        "more descriptors on their way than the user may have: the connection ends with ETOOMANYREFS",
        arguments: TransportMode.available)
    func tooManyOnTheirWay(mode: TransportMode) async {
        guard geteuid() == 0 else { return }
        await #expect(processExitsWith: .success) { [mode] in
            let server = try TestServer(mode, .temporaryUnix())
            let peer = try Peer(connectingTo: server.address)
            let file = try TestFile([1])
            // The bound is RLIMIT_NOFILE of one without privileges, counted per user: one that no other test is.
            try server.first { connection in
                var limit = rlimit()
                getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
                limit.rlim_cur = 64
                setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
                #expect(setuid(61_234) == 0)
                for _ in 0..<20 {
                    #expect(Self.write(connection, [1], [OwnedDescriptor](repeating: file.descriptor, count: 16)))
                }
            }
            #expect(try server.recorder.waitForEnd() == .failed(SystemError("sendmsg", code: ETOOMANYREFS)))
            withExtendedLifetime(peer) {}
        }
    }

    @Test(
        "descriptors without a byte, too many of them, or on a TCP socket are a programmer's mistake",
        arguments: TransportMode.available, 0...2)
    func mistakes(mode: TransportMode, mistake: Int) async {
        await #expect(processExitsWith: .failure) { [mode, mistake] in
            let server = try TestServer(mode, mistake == 2 ? .anyLoopback : .temporaryUnix())
            let peer = try Peer(connectingTo: server.address)
            let file = try TestFile([1]).descriptor
            let descriptors = [OwnedDescriptor](repeating: file, count: mistake == 1 ? 17 : 1)
            try server.first { _ = Self.write($0, mistake == 0 ? [] : [1], descriptors) }
            withExtendedLifetime(peer) {}
        }
    }
}
