import Testing
import Transport

@testable import Services

@Suite("echo service")
struct EchoServiceTests {
    private typealias EchoThread = ServiceThread<EchoService>

    @Test(
        "every byte comes back, FIN is answered by FIN, and the statistics say so",
        arguments: [SocketAddress.ipv4(0x7f00_0001, port: 0), .temporaryUnix()])
    func echo(address: SocketAddress) throws {
        let echo = try EchoThread(listeningOn: address) { EchoService() }
        let client = try Peer(to: echo.address)
        let data = pattern(1 << 20, seed: 1)
        let sender = Background {
            try client.send(data)
            client.finishOutput()
        }
        #expect(try client.receive(data.count) == data)
        #expect(try client.isAtEnd())
        try sender.value()
        try echo.waitUntilEnded(1)
        var expected = ServiceStatistics()
        expected.bytesReceived = UInt64(data.count)
        expected.bytesSent = UInt64(data.count)
        #expect(try echo.statistics == expected)
        try echo.finish()
    }

    @Test("statistics count what an open connection has echoed")
    func statisticsWhileOpen() throws {
        let echo = try EchoThread { EchoService() }
        let client = try Peer(to: echo.address)
        for round in 1...3 {
            try client.send("hello")
            #expect(try client.receiveText(5) == "hello")
            try eventually("the sent bytes to be counted") {
                let statistics = try echo.statistics
                return statistics.bytesReceived == 5 * round && statistics.bytesSent == 5 * round
            }
        }
        try echo.finish()
    }

    @Test("a client that sends and does not read is held back, and gets everything when it reads")
    func backPressure() throws {
        let echo = try EchoThread { EchoService() }
        let client = try Peer(to: echo.address)
        let data = pattern(32 << 20, seed: 2)
        let sent = try client.sendUntilStuck(data)
        #expect(sent < data.count, "the kernel's buffers cannot hold all of it")
        client.finishOutput()
        #expect(try client.receive(sent) == Array(data[..<sent]))
        #expect(try client.isAtEnd())
        try echo.waitUntilEnded(1)
        try echo.finish()
    }

    @Test("a client's RST ends its connection and no other")
    func reset() throws {
        let echo = try EchoThread { EchoService() }
        let other = try Peer(to: echo.address)
        let client = try Peer(to: echo.address)
        try client.send("hello")
        #expect(try client.receiveText(5) == "hello")
        client.reset()
        try echo.waitUntilEnded(1)
        try other.send("still here")
        #expect(try other.receiveText(10) == "still here")
        try echo.finish()
    }

    @Test("draining says FIN to idle clients, whose connections end when they say it too")
    func drainIdle() throws {
        let echo = try EchoThread { EchoService() }
        let silent = try Peer(to: echo.address)
        let used = try Peer(to: echo.address)
        try used.send("hello")
        #expect(try used.receiveText(5) == "hello")
        try echo.on { service, _ in
            service.drain(spread: .zero)
            service.drain(spread: .zero)
        }
        for client in [silent, used] {
            #expect(try client.isAtEnd())
            client.finishOutput()
        }
        try echo.waitUntilEnded(2)
        try echo.finish()
    }

    @Test("draining lets a busy client have everything it sent before it says FIN")
    func drainBusy() throws {
        let echo = try EchoThread { EchoService() }
        let client = try Peer(to: echo.address)
        let data = pattern(32 << 20, seed: 3)
        // All of it is in the kernel's hands before the drain, and most of it not read by the service yet.
        let sent = try client.sendUntilStuck(data)
        try echo.on { service, _ in service.drain(spread: .zero) }
        #expect(try client.receive(sent) == Array(data[..<sent]))
        #expect(try client.isAtEnd())
        client.finishOutput()
        try echo.waitUntilEnded(1)
        try echo.finish()
    }

    @Test("bytes that are on their way when the drain begins come back before FIN")
    func drainWithBytesOnTheirWay() throws {
        let echo = try EchoThread { EchoService() }
        let client = try Peer(to: echo.address)
        try client.send("hello")
        #expect(try client.receiveText(5) == "hello")
        // Both in one turn of the loop: the service cannot have received what is sent before it drains.
        try echo.on { service, _ in
            service.drain(spread: .zero)
            try? client.send("last")
        }
        #expect(try client.receiveText(4) == "last")
        #expect(try client.isAtEnd())
        client.finishOutput()
        try echo.waitUntilEnded(1)
        try echo.finish()
    }

    @Test("a connection that arrives while draining is served and then gets its FIN")
    func arrivesWhileDraining() throws {
        let echo = try EchoThread { EchoService() }
        try echo.on { service, _ in service.drain(spread: .zero) }
        let client = try Peer(to: echo.address)
        try client.send("late")
        #expect(try client.receiveText(4) == "late")
        #expect(try client.isAtEnd())
        client.finishOutput()
        try echo.waitUntilEnded(1)
        try echo.finish()
    }

    @Test("closeAll ends every connection, also one that does not read")
    func closeAll() throws {
        let echo = try EchoThread { EchoService() }
        let idle = try (0..<3).map { _ in try Peer(to: echo.address) }
        let stuck = try Peer(to: echo.address)
        _ = try stuck.sendUntilStuck(pattern(32 << 20, seed: 4))
        try echo.state.wait(for: "all to be accepted") { $0.served == 4 }
        try echo.on { service, _ in service.closeAll() }
        try echo.waitUntilEnded(4)
        for client in idle { #expect(try client.isEnded()) }
        try echo.finish()
    }
}
