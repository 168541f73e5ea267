import Foundation
import Testing
import Transport

@testable import Services

extension ServiceThread {
    /// Freezes up to `max` connections at a time, each of which comes back refused, until there is no other; returns their
    /// clients in order.
    fileprivate func offerInVain(_ max: Int) throws -> [SocketAddress] {
        var peers: [SocketAddress] = []
        while true {
            let before = state.value.frozen.count
            let begun = try on { service, _ in service.freeze(max) }
            if begun == 0 { return peers }
            let boxes = try state.wait(for: "them to be frozen") { $0.frozen.count >= before + begun }.frozen
            for box in boxes[before...] {
                peers.append(box.copy().peer)
                try takeBack(box)
            }
            try #require(peers.count < 1000, "it goes on and on")
        }
    }

    /// Has the service go on with what it has frozen and nobody would have.
    private func takeBack(_ box: FrozenBox) throws {
        let isThawed = try on { service, _ in
            var frozen = box.copy()
            frozen.isRefused = true
            return service.thaw(frozen)
        }
        #expect(isThawed)
        state.update { $0.served += 1 }
        box.letGo()
    }

    /// Whether each connection has its turn before any has another; and again once they may be tried again.
    fileprivate func takesTurns(_ clients: [SocketAddress]) throws {
        for _ in 0..<2 {
            let peers = try offerInVain(3)
            #expect(peers.count == clients.count && Set(peers) == Set(clients))
            try on { service, _ in service.retryRefused() }
        }
    }
}

@Suite("services: connections that nobody would have")
struct RefusedConnectionTests {
    @Test("echo: those that came back are passed over until all others had their turn")
    func echo() throws {
        try DescriptorTable.leavingNothing {
            let echo = try ServiceThread { EchoService() }
            let clients = try (0..<10).map { _ in try Peer(to: echo.address) }
            try echo.state.wait(for: "all to be accepted") { $0.served == 10 }
            try echo.takesTurns(clients.map { $0.localAddress })
            for client in clients {
                try client.send("still here")
                #expect(try client.receiveText(10) == "still here")
            }
            try echo.finish()
        }
    }

    @Test("proxy: pairs that came back are passed over until all others had their turn")
    func proxy() throws {
        try DescriptorTable.leavingNothing {
            let upstream = try FakeUpstream()
            let proxy = try ProxyThread(to: [upstream.address])
            let clients = try (0..<10).map { _ in try Peer(to: proxy.address) }
            let servers = try clients.map { _ in try upstream.accept() }
            try eventually("all to be joined") {
                try proxy.on { service, _ in
                    service.sessions.count == 10 && service.sessions.values.allSatisfy { $0.upstream != nil }
                }
            }
            try proxy.takesTurns(clients.map { $0.localAddress })
            #expect(try proxy.upstreamConnections == [10])
            withExtendedLifetime(servers) {}
            try proxy.finishProxy()
        }
    }

    @Test("one that came from elsewhere has its turn at once")
    func arrived() throws {
        try DescriptorTable.leavingNothing {
            let (old, new) = (try ServiceThread { EchoService() }, try ServiceThread { EchoService() })
            let client = try Peer(to: old.address)
            let peer = client.localAddress
            #expect(try old.offerInVain(1) == [peer])
            try old.on { service, _ in service.retryRefused() }
            try old.move(to: new)
            #expect(try new.offerInVain(1) == [peer])
            try old.finish()
            try new.finish()
        }
    }
}
