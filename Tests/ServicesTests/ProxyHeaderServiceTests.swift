import Testing
import Transport

@testable import Services

@Suite("proxy: PROXY protocol")
struct ProxyHeaderServiceTests {
    private static let signature: [UInt8] = [0x0D, 0x0A, 0x0D, 0x0A, 0, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A]

    /// 203.0.113.7:4711 connected to 198.51.100.2:443, in both versions.
    private static let line = Array("PROXY TCP4 203.0.113.7 198.51.100.2 4711 443\r\n".utf8)
    private static let block: [UInt8] =
        signature + [0x21, 0x11, 0, 12, 203, 0, 113, 7, 198, 51, 100, 2, 0x12, 0x67, 0x01, 0xBB]

    /// The header in version 2 of a client on the loopback interface.
    private static func block(from source: SocketAddress, to destination: SocketAddress) -> [UInt8] {
        let ports = [source.port!, destination.port!].flatMap { [UInt8($0 >> 8), UInt8($0 & 0xFF)] }
        return signature + [0x21, 0x11, 0, 12, 127, 0, 0, 1, 127, 0, 0, 1] + ports
    }

    @Test("version 1 is sent before the first byte of the client")
    func sendsLine() throws {
        let pair = try ProxiedPair { $0.sendsProxyHeader = .v1 }
        try pair.client.send("payload")
        let ports = "\(pair.client.localAddress.port!) \(pair.proxy.address.port!)"
        let expected = "PROXY TCP4 127.0.0.1 127.0.0.1 \(ports)\r\npayload"
        #expect(try pair.server.receiveText(expected.utf8.count) == expected)
        try pair.proxy.finishProxy()
    }

    @Test("version 2 is sent even when the client waits for the server to speak first")
    func sendsBlock() throws {
        let pair = try ProxiedPair { $0.sendsProxyHeader = .v2 }
        let expected = Self.block(from: pair.client.localAddress, to: pair.proxy.address)
        #expect(try pair.server.receive(28) == expected)
        try pair.server.send("220 ready")
        #expect(try pair.client.receiveText(9) == "220 ready")
        try pair.client.send("payload")
        #expect(try pair.server.receiveText(7) == "payload")
        try pair.proxy.finishProxy()
    }

    @Test("the header goes to the upstream that answers, once, when another refused before")
    func sendsAfterRefusal() throws {
        let refusing = try RefusingUpstream()
        let upstream = try FakeUpstream()
        let proxy = try ProxyThread(to: [refusing.address, upstream.address]) { $0.sendsProxyHeader = .v2 }
        let client = try Peer(to: proxy.address)
        try client.send("payload")
        client.finishOutput()
        let server = try upstream.accept()
        let expected = Self.block(from: client.localAddress, to: proxy.address) + Array("payload".utf8)
        #expect(try server.receive(1000) == expected)
        try proxy.finishProxy()
    }

    @Test("of a client on a Unix-domain socket version 1 can only say UNKNOWN")
    func sendsUnknown() throws {
        let pair = try ProxiedPair(listeningOn: .temporaryUnix()) { $0.sendsProxyHeader = .v1 }
        #expect(try pair.server.receiveText(15) == "PROXY UNKNOWN\r\n")
        try pair.proxy.finishProxy()
    }

    @Test("a client's header is taken off, whole with the payload behind it", arguments: [line, block])
    func acceptsInOnePiece(header: [UInt8]) throws {
        let upstream = try FakeUpstream()
        let proxy = try ProxyThread(to: [upstream.address]) { $0.acceptsProxyHeader = true }
        let client = try Peer(to: proxy.address)
        try client.send(header + Array("payload".utf8))
        client.finishOutput()
        let server = try upstream.accept()
        #expect(try server.receiveText(1000) == "payload")
        try server.send("answer")
        server.finishOutput()
        #expect(try client.receiveText(1000) == "answer")
        try proxy.waitUntilEnded(1)
        #expect(try proxy.statistics.bytesReceived == UInt64(header.count + 7))
        try proxy.finishProxy()
    }

    @Test("a client's header may come byte by byte; only then is an upstream connected", arguments: [line, block])
    func acceptsByteByByte(header: [UInt8]) throws {
        let upstream = try FakeUpstream()
        let proxy = try ProxyThread(to: [upstream.address]) { $0.acceptsProxyHeader = true }
        let client = try Peer(to: proxy.address)
        for (index, byte) in header.enumerated() {
            #expect(try proxy.upstreamConnections == [0])
            try client.send([byte])
            try eventually("the byte to be received") {
                try proxy.statistics.bytesReceived == UInt64(index + 1)
            }
        }
        let server = try upstream.accept()
        try client.send("payload")
        #expect(try server.receiveText(7) == "payload")
        try proxy.finishProxy()
    }

    @Test("a header taken from one proxy is passed on to the next, source and all", arguments: [line, block])
    func passesOn(header: [UInt8]) throws {
        let upstream = try FakeUpstream()
        let proxy = try ProxyThread(to: [upstream.address]) {
            $0.acceptsProxyHeader = true
            $0.sendsProxyHeader = .v2
        }
        let client = try Peer(to: proxy.address)
        try client.send(header + Array("early".utf8))
        let server = try upstream.accept()
        #expect(try server.receive(28) == Self.block)
        #expect(try server.receiveText(5) == "early")
        try client.send("later")
        #expect(try server.receiveText(5) == "later")
        try proxy.finishProxy()
    }

    @Test("a header that says UNKNOWN leaves the socket's own addresses to be passed on")
    func passesOnUnknown() throws {
        let upstream = try FakeUpstream()
        let proxy = try ProxyThread(to: [upstream.address]) {
            $0.acceptsProxyHeader = true
            $0.sendsProxyHeader = .v2
        }
        let client = try Peer(to: proxy.address)
        try client.send("PROXY UNKNOWN\r\n")
        let server = try upstream.accept()
        #expect(try server.receive(28) == Self.block(from: client.localAddress, to: proxy.address))
        try proxy.finishProxy()
    }

    @Test(
        "a client without a header is closed, and no upstream hears of it",
        arguments: ["GET / HTTP/1.1\r\n\r\n", "PROXY TCP4 nonsense\r\n", "\r\n\r\n\0\r\nQUIT!"])
    func malformed(text: String) throws {
        let upstream = try FakeUpstream()
        let log = LogCounter()
        let proxy = try ProxyThread(to: [upstream.address], log: log) { $0.acceptsProxyHeader = true }
        let client = try Peer(to: proxy.address)
        try client.send(text)
        #expect(try client.isEnded())
        try proxy.waitUntilEnded(1)
        #expect(log.count(.info, "client refused: no PROXY protocol header") == 1)
        #expect(!upstream.hasConnection())
        try proxy.finishProxy()
    }

    @Test("a client that ends in the middle of its header is closed", arguments: [false, true])
    func endsEarly(withReset: Bool) throws {
        let upstream = try FakeUpstream()
        let proxy = try ProxyThread(to: [upstream.address]) { $0.acceptsProxyHeader = true }
        let client = try Peer(to: proxy.address)
        try client.send(Array(Self.block.prefix(20)))
        try eventually("the bytes to be received") { try proxy.statistics.bytesReceived == 20 }
        if withReset { client.reset() } else { client.finishOutput() }
        try proxy.waitUntilEnded(1)
        #expect(!upstream.hasConnection())
        try proxy.finishProxy()
    }

    @Test("a client that takes too long for its header is closed, however many bytes it has sent")
    func tooLate() throws {
        let upstream = try FakeUpstream()
        let proxy = try ProxyThread(to: [upstream.address]) {
            $0.acceptsProxyHeader = true
            $0.proxyHeaderTimeout = .milliseconds(200)
        }
        let begin = MonotonicTime.now
        let silent = try Peer(to: proxy.address)
        let slow = try Peer(to: proxy.address)
        try slow.send(Array(Self.line.dropLast()))
        #expect(try silent.isEnded())
        #expect(try slow.isEnded())
        #expect(MonotonicTime.now - begin >= .milliseconds(200))
        try proxy.waitUntilEnded(2)
        #expect(!upstream.hasConnection())
        try proxy.finishProxy()
    }

    @Test("the time for the header does not count once it has come, however long connecting takes")
    func timerStops() throws {
        let hanging = try HangingUpstream()
        let upstream = try FakeUpstream()
        let proxy = try ProxyThread(to: [hanging.address, upstream.address]) {
            $0.acceptsProxyHeader = true
            $0.proxyHeaderTimeout = .milliseconds(200)
            $0.connectTimeout = .milliseconds(400)
        }
        let client = try Peer(to: proxy.address)
        try client.send(Self.line)
        let server = try upstream.accept()
        #expect(client.isSilent(forMilliseconds: 300))
        try client.send("payload")
        #expect(try server.receiveText(7) == "payload")
        try proxy.finishProxy()
    }
}
