import Glibc
import Testing

@testable import Transport
@testable import TransportTesting

/// Datagrams in receive buffers: the layout is the kernel's, and the ring shows that it is stated rightly.
@Suite("Handlers: datagrams", .serialized)
struct HandlerMessageTests {
    /// Two UDP sockets on the loopback interface, the right one connected to the left one.
    private final class UDPPair {
        let left: Int32
        let right: Int32

        init() throws {
            left = socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
            right = socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
            #expect(SocketAddress.anyLoopback.withSockaddr { bind(left, $0, $1) } == 0)
            let address = try #require(Socket.localAddress(of: left))
            #expect(address.withSockaddr { Glibc.connect(right, $0, $1) } == 0)
        }

        deinit {
            close(left)
            close(right)
        }

        func send(_ text: String) { #expect(Glibc.send(right, text, text.utf8.count, 0) == text.utf8.count) }
    }

    private struct Message: Equatable {
        var result: Int32
        var header: [UInt32]
        var payload: String
        var hasMore: Bool
    }

    private static let nameRoom = MemoryLayout<sockaddr_storage>.size

    private func receive(_ driver: HandlerDriver, _ fd: Int32, nameRoom: Int = nameRoom, controlRoom: Int = 0) throws {
        let message = driver.message([])
        message.pointee.msg_namelen = socklen_t(nameRoom)
        message.pointee.msg_controllen = controlRoom
        try driver.submit(.receiveMessages(fd: fd, message: message), .receive)
    }

    private func take(_ driver: HandlerDriver, _ count: Int, rooms: Int = nameRoom) throws -> [Message] {
        try driver.completions(count).map { completion, told in
            guard let buffer = completion.buffer else {
                return Message(result: told.result, header: [], payload: "", hasMore: told.hasMore)
            }
            let bytes = driver.content(of: buffer, count: Int(told.result))
            let header = (0..<4).map { bytes.loadUnaligned(fromByteOffset: $0 * 4, as: UInt32.self) }
            let payload = String(decoding: bytes[(16 + rooms)...], as: UTF8.self)
            driver.returnBuffer(buffer)
            return Message(result: told.result, header: header, payload: payload, hasMore: told.hasMore)
        }
    }

    @Test(
        "each datagram gets a buffer: header, room for the name and for control data, payload",
        arguments: HandlerKind.available)
    func layout(kind: HandlerKind) throws {
        let pair = try UDPPair()
        let driver = try HandlerDriver(kind, bufferSize: 256)
        try receive(driver, pair.left)
        pair.send("one")
        pair.send("three")
        let rooms = Int32(Self.nameRoom)
        #expect(
            try take(driver, 2) == [
                Message(result: 16 + rooms + 3, header: [16, 0, 3, 0], payload: "one", hasMore: true),
                Message(result: 16 + rooms + 5, header: [16, 0, 5, 0], payload: "three", hasMore: true),
            ])
        #expect(try driver.settled() == [])
    }

    @Test("control data stands between name and payload, and its length is told", arguments: HandlerKind.available)
    func control(kind: HandlerKind) throws {
        let pair = try UDPPair()
        #expect(Socket.set(pair.left, SOL_SOCKET, SO_TIMESTAMP, 1))
        let driver = try HandlerDriver(kind, bufferSize: 256)
        try receive(driver, pair.left, controlRoom: 64)
        pair.send("x")
        // A struct cmsghdr (16 bytes) and a struct timeval (16 bytes).
        #expect(
            try take(driver, 1, rooms: Self.nameRoom + 64) == [
                Message(
                    result: Int32(16 + Self.nameRoom + 64 + 1), header: [16, 32, 1, 0], payload: "x", hasMore: true)
            ])
    }

    @Test("a datagram too large for its buffer is cut and flagged", arguments: HandlerKind.available)
    func truncated(kind: HandlerKind) throws {
        let pair = try UDPPair()
        let driver = try HandlerDriver(kind, bufferSize: 32)
        try receive(driver, pair.left, nameRoom: 0)
        pair.send("0123456789abcdefXYZ")
        #expect(
            try take(driver, 1, rooms: 0) == [
                Message(
                    result: 32, header: [0, 0, 16, UInt32(MSG_TRUNC)], payload: "0123456789abcdef",
                    hasMore: true)
            ])
    }

    @Test("an empty datagram is told with a buffer", arguments: HandlerKind.available)
    func empty(kind: HandlerKind) throws {
        let pair = try UDPPair()
        let driver = try HandlerDriver(kind, bufferSize: 256)
        try receive(driver, pair.left)
        pair.send("")
        let told = try take(driver, 1)[0]
        #expect(told.header == [16, 0, 0, 0] && told.result == Int32(16 + Self.nameRoom))
        // The ring ends the operation with it (a payload of 0 looks like the end of a stream to the kernel).
        #expect(!told.hasMore)
    }

    @Test("no room for header and name fails with EFAULT", arguments: HandlerKind.available)
    func noRoom(kind: HandlerKind) throws {
        let pair = try UDPPair()
        let driver = try HandlerDriver(kind, bufferSize: 64)
        try receive(driver, pair.left)
        pair.send("x")
        #expect(try driver.wait(for: 1) == [Told(.receive, -EFAULT)])
    }

    @Test(
        "datagrams without a buffer end the receive with ENOBUFS, and are received later",
        arguments: HandlerKind.available)
    func exhausted(kind: HandlerKind) throws {
        let pair = try UDPPair()
        let driver = try HandlerDriver(kind, bufferSize: 256, given: 1)
        try receive(driver, pair.left)
        pair.send("one")
        pair.send("two")
        let told = try driver.completions(2)
        #expect(told[0].1.hasMore && told[1].1 == Told(.receive, -ENOBUFS))
        driver.returnBuffer(try #require(told[0].0.buffer))
        try receive(driver, pair.left)
        #expect(try take(driver, 1)[0].payload == "two")
    }
}
