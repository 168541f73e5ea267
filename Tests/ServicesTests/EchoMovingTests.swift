import Foundation
import Testing
import Transport

@testable import Services

@Suite("echo: moving to another process")
struct EchoMovingTests {
    typealias EchoThread = ServiceThread<EchoService>

    private static func pair() throws -> (EchoThread, EchoThread) {
        (try EchoThread { EchoService() }, try EchoThread { EchoService() })
    }

    @Test("a client that sends and reads all the time, and is moved to and fro, has every byte back in order")
    func underTraffic() throws {
        try DescriptorTable.leavingNothing {
            let (old, new) = try Self.pair()
            let client = try Peer(to: old.address)
            let talker = Talker(client, seed: 1)
            let hearer = Hearer(client)
            for _ in 0..<20 {
                talker.goOn()
                try old.move(to: new)
                talker.goOn()
                try new.move(to: old)
            }
            let sent = try talker.stop()
            #expect(sent.count == 20 << 20)
            #expect(try hearer.everything() == sent)
            try old.waitUntilEnded(1)
            let statistics = try [old.statistics, new.statistics]
            #expect(statistics.reduce(0) { $0 + $1.bytesReceived } == UInt64(sent.count), "each byte counts once")
            #expect(statistics.reduce(0) { $0 + $1.bytesSent } == UInt64(sent.count))
            try old.finish { #expect($0.freezing == 0) }
            try new.finish { #expect($0.freezing == 0) }
        }
    }

    @Test("where it came from goes along")
    func origin() throws {
        try DescriptorTable.leavingNothing {
            let (old, new) = try Self.pair()
            let client = try Peer(to: old.address)
            let first = try old.move(to: new)
            let box = try new.freezeOne()
            let frozen = box.copy()
            #expect(frozen.listener == 0 && frozen.peer == client.localAddress && frozen.sockets.count == 1)
            #expect(frozen.acceptedAt <= .now && frozen.acceptedAt != MonotonicTime(nanoseconds: 0))
            _ = consume frozen
            withExtendedLifetime(first) { box.letGo() }
            #expect(try client.isAtEnd())
            try old.finish()
            try new.finish()
        }
    }

    @Test("a client that does not read is moved with what it has not been sent; reading goes on when it reads")
    func slowReader() throws {
        try DescriptorTable.leavingNothing {
            let (old, new) = try Self.pair()
            let client = try Peer(to: old.address)
            // The kernel would hold tens of megabytes for a reader that lets it choose.
            client.setOption(SOL_SOCKET, SO_RCVBUF, Int32(64 << 10))
            let data = pattern(32 << 20, seed: 2)
            let sent = try client.sendUntilStuck(data)
            let box = try old.freezeOne()
            guard case .echo(let remainder)? = box.state else {
                Issue.record("no echo state")
                return
            }
            #expect(!remainder.unsent.isEmpty)
            try new.thaw(box)
            #expect(try client.receive(sent) == Array(data[..<sent]))
            try client.send("more")
            #expect(try client.receiveText(4) == "more")
            client.finishOutput()
            #expect(try client.isAtEnd())
            try new.waitUntilEnded(1)
            try old.finish()
            try new.finish()
        }
    }

    @Test("unsent bytes are sent before unread ones are echoed, and those before new ones")
    func order() throws {
        try DescriptorTable.leavingNothing {
            let echo = try EchoThread { EchoService() }
            let (client, served) = try servedSocket()
            let remainder = ConnectionRemainder(unread: Array("second".utf8), unsent: Array("first".utf8))!
            try client.send("third")
            try echo.thaw(FrozenBox(Self.frozen([served], .echo(remainder))))
            #expect(try client.receiveText(16) == "firstsecondthird")
            client.finishOutput()
            #expect(try client.isAtEnd())
            try echo.waitUntilEnded(1)
            try echo.finish()
        }
    }

    @Test("a client that has said FIN gets the rest and FIN from the process it was moved to")
    func halfClosed() throws {
        try DescriptorTable.leavingNothing {
            let (old, new) = try Self.pair()
            let client = try Peer(to: old.address)
            let data = pattern(32 << 20, seed: 3)
            let sent = try client.sendUntilStuck(data)
            client.finishOutput()
            try old.move(to: new)
            #expect(try client.receive(sent) == Array(data[..<sent]))
            #expect(try client.isAtEnd())
            try new.waitUntilEnded(1)
            try old.finish()
            try new.finish()
        }
    }

    @Test("a client that was told FIN by a drain may still be moved, and ends with its own FIN")
    func halfClosedByDrain() throws {
        try DescriptorTable.leavingNothing {
            let (old, new) = try Self.pair()
            let client = try Peer(to: old.address)
            try old.on { service, _ in service.drain(spread: .zero) }
            #expect(try client.isAtEnd())
            try old.move(to: new)
            client.finishOutput()
            try new.waitUntilEnded(1)
            try old.finish()
            try new.finish()
        }
    }

    @Test("a connection that nobody would have goes on where it was, byte for byte")
    func refused() throws {
        try DescriptorTable.leavingNothing {
            let echo = try EchoThread { EchoService() }
            let client = try Peer(to: echo.address)
            let talker = Talker(client, seed: 4)
            let hearer = Hearer(client)
            for _ in 0..<20 {
                talker.goOn()
                try echo.move(to: echo)
            }
            let sent = try talker.stop()
            #expect(try hearer.everything() == sent)
            try echo.waitUntilEnded(1)
            try echo.finish { #expect($0.freezing == 0) }
        }
    }

    @Test("no more are begun than asked for, and none twice")
    func bounded() throws {
        try DescriptorTable.leavingNothing {
            let echo = try EchoThread { EchoService() }
            let clients = try (0..<5).map { _ in try Peer(to: echo.address) }
            try echo.state.wait(for: "all to be accepted") { $0.served == 5 }
            let counts = try echo.on { service, _ in
                [
                    service.freeze(0), service.freezing, service.freeze(3), service.freezing, service.freeze(9),
                    service.freezing, service.freeze(1),
                ]
            }
            #expect(counts == [0, 0, 3, 3, 2, 5, 0])
            let state = try echo.state.wait(for: "all to be frozen") { $0.frozen.count == 5 }
            #expect(try echo.on { service, _ in service.freezing } == 0)
            for box in state.frozen { box.letGo() }
            for client in clients { #expect(try client.isAtEnd()) }
            try echo.finish()
        }
    }

    @Test("closeAll ends also what is being frozen, and it is not frozen then")
    func closedWhileFreezing() throws {
        try DescriptorTable.leavingNothing {
            let echo = try EchoThread { EchoService() }
            let client = try Peer(to: echo.address)
            try echo.state.wait(for: "it to be accepted") { $0.served == 1 }
            try echo.on { service, _ in
                #expect(service.freeze(1) == 1)
                service.closeAll()
            }
            #expect(try client.isEnded())
            try echo.waitUntilEnded(1)
            #expect(echo.state.value.frozen.isEmpty)
            try echo.finish { #expect($0.freezing == 0) }
        }
    }

    @Test("a state that makes no sense closes the socket", arguments: ["", "x", "pair", "two"])
    func damaged(kind: String) throws {
        try DescriptorTable.leavingNothing {
            let echo = try EchoThread { EchoService() }
            let (client, served) = try servedSocket()
            let other = dup(served)
            var sockets = [served]
            var state: [UInt8] = FrozenState.echo(.none).encoded
            switch kind {
            case "two": sockets.append(other)
            case "pair":
                let pair = FrozenPair(
                    upstreamAddress: .ipv4(1, port: 1), lastActivity: .now, client: .none, upstream: .none)!
                state = FrozenState.pair(pair).encoded
            default: state = Array(kind.utf8)
            }
            if kind != "two" { close(other) }
            let box = FrozenBox(Self.frozen(sockets, state))
            #expect(try echo.tryThaw(box) == false)
            box.letGo()
            #expect(try client.isAtEnd())
            try echo.finish()
        }
    }

    @Test("a drain ends idle clients spread over its time; a sooner one hastens it")
    func spread() throws {
        let echo = try EchoThread { EchoService() }
        let clients = try (0..<4).map { _ in try Peer(to: echo.address) }
        try echo.state.wait(for: "all to be accepted") { $0.served == 4 }
        try echo.on { service, _ in service.drain(spread: .seconds(3600)) }
        // The first has its turn at once, the next after a quarter of an hour; several looks at what is idle pass.
        let ended = { clients.count { !$0.isSilent(forMilliseconds: 0) } }
        try eventually("the first") { ended() > 0 }
        usleep(200_000)
        #expect(ended() == 1)
        try echo.on { service, _ in service.drain(spread: .milliseconds(400)) }
        for client in clients {
            #expect(try client.isAtEnd())
            client.finishOutput()
        }
        try echo.waitUntilEnded(4)
        try echo.finish()
    }

    private static func frozen(_ sockets: [Int32], _ state: FrozenState) -> FrozenConnection {
        frozen(sockets, state.encoded)
    }

    private static func frozen(_ sockets: [Int32], _ state: [UInt8]) -> FrozenConnection {
        FrozenConnection(
            listener: 0, peer: .ipv4(0x7f00_0001, port: 9), acceptedAt: .now, sockets: sockets, state: state)
    }
}
