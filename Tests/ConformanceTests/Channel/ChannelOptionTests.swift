import Glibc
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Channel options")
struct ChannelOptionTests {
    typealias Answer<Value> = Result<Value, any Error>

    @Test("a connection's option is set and read on its loop (netty 66)", arguments: TransportMode.available)
    func connection(mode: TransportMode) throws {
        let server = try TestServer(mode)
        let client = try Peer(connectingTo: server.address)
        let answer: Answer<[Bool]> = try server.first { connection in
            Result {
                let before = try connection.get(.noDelay)
                try connection.set(.noDelay, true)
                return [before, try connection.get(.noDelay)]
            }
        }
        #expect(try answer.get() == [false, true])
        withExtendedLifetime(client) {}
        try server.join()
    }

    @Test(
        "a connection tells what TCP knows of it, but a Unix-domain one, which is none",
        arguments: TransportMode.available, AddressFamily.allCases)
    func tcpInfo(mode: TransportMode, family: AddressFamily) throws {
        let server = try TestServer(mode, family.address)
        let client = try Peer(connectingTo: server.address)
        try client.send(pattern(1000))
        #expect(try server.recorder.waitForBytes(1000) == pattern(1000))
        let answer: Answer<TCPInfo> = try server.first { connection in Result { try connection.tcpInfo() } }
        if family == .unix {
            #expect(throws: SystemError("getsockopt(TCP_INFO)", code: EOPNOTSUPP)) { try answer.get() }
        } else {
            #expect(try answer.get().state == .established)
            #expect(try answer.get().counters.bytesReceived == 1000)
        }
        try server.join()
    }

    @Test(
        "a closing connection has no options any more: its descriptor may be another's",
        arguments: TransportMode.available)
    func closing(mode: TransportMode) throws {
        let server = try TestServer(mode)
        let client = try Peer(connectingTo: server.address)
        let answers: [Answer<Bool>] = try server.first { connection in
            connection.close()
            return [
                Result { try connection.get(.noDelay) },
                Result { try connection.set(.noDelay, true) }.map { true },
                Result { try connection.tcpInfo() }.map { _ in true },
            ]
        }
        for (answer, call) in zip(
            answers, ["getsockopt(TCP_NODELAY)", "setsockopt(TCP_NODELAY)", "getsockopt(TCP_INFO)"])
        {
            #expect(throws: SystemError(call, code: EBADF)) { try answer.get() }
        }
        withExtendedLifetime(client) {}
        try server.join()
    }

    @Test(
        "a connection that lingers for no time is closed with RST, just accepted too (netty 35)",
        arguments: TransportMode.available)
    func lingerZero(mode: TransportMode) throws {
        let server = try TestServer(mode) { connection in
            #expect(throws: Never.self) { try connection.set(.linger, .zero) }
        }
        let client = try Peer(connectingTo: server.address)
        try server.first { $0.close() }
        #expect(client.receiveError() == ECONNRESET)
        try server.join()
    }

    @Test("a listener's option is set and read on its loop", arguments: TransportMode.available)
    func listener(mode: TransportMode) throws {
        let thread = try LoopThread(mode)
        let fd = try Socket.listen(.anyLoopback, .init())
        let answer: Answer<Int> = try thread.on { loop in
            let listener = Listener(loop, fd: fd) { close($0) }
            return Result {
                try listener.set(.fastOpen, 9)
                return try listener.get(.fastOpen)
            }
        }
        #expect(try answer.get() == 9)
        try thread.join()
    }
}
