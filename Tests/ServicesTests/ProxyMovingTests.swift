import Foundation
import Testing
import Transport

@testable import Services

@Suite("proxy: moving pairs to another process")
struct ProxyMovingTests {
    /// A pair of a client and a server at one proxy, and another proxy to move it to.
    private struct Stage {
        let old: ProxyThread
        let new: ProxyThread
        let client: Peer
        let server: Peer

        init(
            newUpstreams: [SocketAddress]? = nil,
            _ configure: @Sendable (inout ProxyConfiguration) -> Void = { _ in }
        ) throws {
            let upstream = try FakeUpstream()
            old = try ProxyThread(to: [upstream.address], configure)
            new = try ProxyThread(to: newUpstreams ?? [upstream.address], configure)
            client = try Peer(to: old.address)
            server = try upstream.accept()
            try eventually("the two to be joined") { try !old.upstreamConnections.isEmpty && isJoined() }
        }

        /// It can be frozen, which is when it can move.
        private func isJoined() throws -> Bool {
            try old.on { service, _ in service.sessions.values.first?.upstream != nil }
        }

        func finish() throws {
            try old.finishProxy()
            try new.finishProxy()
        }

        func passesBytes() throws -> Bool {
            try client.send("question")
            guard try server.receiveText(8) == "question" else { return false }
            try server.send("answer")
            return try client.receiveText(6) == "answer"
        }
    }

    @Test("a pair with traffic in both directions, moved to and fro, loses no byte and none comes twice")
    func underTraffic() throws {
        try DescriptorTable.leavingNothing {
            let stage = try Stage()
            let (fromClient, fromServer) = (Talker(stage.client, seed: 1), Talker(stage.server, seed: 2))
            let (atClient, atServer) = (Hearer(stage.client), Hearer(stage.server))
            for _ in 0..<20 {
                fromClient.goOn()
                try stage.old.move(to: stage.new)
                fromServer.goOn()
                try stage.new.move(to: stage.old)
            }
            let (sent, answered) = (try fromClient.stop(), try fromServer.stop())
            #expect(sent.count == 10 << 20 && answered.count == 10 << 20)
            #expect(try atServer.everything() == sent)
            #expect(try atClient.everything() == answered)
            try stage.old.waitUntilEnded(1)
            let statistics = try [stage.old.statistics, stage.new.statistics]
            #expect(statistics.reduce(0) { $0 + $1.bytesReceived } == UInt64(sent.count), "each byte counts once")
            #expect(statistics.reduce(0) { $0 + $1.bytesSent } == UInt64(answered.count))
            try stage.finish()
        }
    }

    @Test("a pair that nobody would have goes on where it was, with traffic in both directions")
    func refused() throws {
        try DescriptorTable.leavingNothing {
            let stage = try Stage()
            let (fromClient, fromServer) = (Talker(stage.client, seed: 3), Talker(stage.server, seed: 4))
            let (atClient, atServer) = (Hearer(stage.client), Hearer(stage.server))
            for _ in 0..<20 {
                fromClient.goOn()
                fromServer.goOn()
                try stage.old.move(to: stage.old)
            }
            #expect(try stage.old.upstreamConnections == [1])
            let (sent, answered) = (try fromClient.stop(), try fromServer.stop())
            #expect(try atServer.everything() == sent)
            #expect(try atClient.everything() == answered)
            try stage.old.waitUntilEnded(1)
            try stage.finish()
        }
    }

    @Test("the connection is taken off the old pool and counted by the new one, for its upstream's address")
    func accounting() throws {
        try DescriptorTable.leavingNothing {
            let elsewhere = try FakeUpstream()
            let stage = try Stage()
            let third = try ProxyThread(to: [elsewhere.address])
            #expect(try stage.old.upstreamConnections == [1])
            let box = try stage.old.freezeOne()
            #expect(try stage.old.upstreamConnections == [0])
            try stage.new.thaw(box)
            #expect(try stage.new.upstreamConnections == [1])
            try stage.new.move(to: third)
            #expect(try stage.new.upstreamConnections == [0])
            #expect(try third.upstreamConnections == [0], "none of its upstreams")
            #expect(try third.on { service, _ in service.pool.connectionsElsewhere } == 1)
            #expect(try stage.passesBytes())
            try third.move(to: stage.old)
            #expect(try third.on { service, _ in service.pool.connectionsElsewhere } == 0)
            #expect(try stage.old.upstreamConnections == [1], "the address was not forgotten on the way")
            #expect(try stage.passesBytes())
            try stage.old.move(to: third)
            stage.client.finishOutput()
            stage.server.finishOutput()
            try third.waitUntilEnded(1)
            #expect(try third.on { service, _ in service.pool.connectionsElsewhere } == 0)
            try third.finishProxy()
            try stage.finish()
        }
    }

    @Test(
        "a side that does not read leaves the other's bytes unsent; they go along",
        arguments: ProxiedPair.Direction.allCases)
    func slowReader(direction: ProxiedPair.Direction) throws {
        try DescriptorTable.leavingNothing {
            let stage = try Stage()
            let isFromClient = direction == .fromClient
            let (from, to) = isFromClient ? (stage.client, stage.server) : (stage.server, stage.client)
            // The kernel would hold tens of megabytes for a reader that lets it choose.
            to.setOption(SOL_SOCKET, SO_RCVBUF, Int32(64 << 10))
            let data = pattern(48 << 20, seed: 5)
            let sending = Background { try from.send(data) }
            try eventually("the proxy to be stuck") {
                let before = try Self.output(stage.old, isFromClient)
                usleep(50_000)
                let now = try Self.output(stage.old, isFromClient)
                return now == before && now.isHeldUp
            }
            let box = try stage.old.freezeOne()
            guard case .pair(let pair)? = box.state else {
                Issue.record("no pair")
                return
            }
            let slow = isFromClient ? pair.upstream : pair.client
            // Of what was queued, the kernel may have taken most before the send was cancelled.
            #expect(!slow.unsent.isEmpty)
            try stage.new.thaw(box)
            try to.send("against the stream")
            #expect(try from.receiveText(18) == "against the stream")
            // Back-pressure holds in the new process, too: of the tens of megabytes to come it takes a few buffers' worth.
            #expect(try Self.output(stage.new, isFromClient).queued < 2 << 20)
            #expect(try to.receive(data.count) == data)
            try sending.value()
            #expect(try stage.passesBytes())
            let statistics = try [stage.old.statistics, stage.new.statistics]
            let fromClient = statistics.reduce(0) { $0 + $1.bytesReceived }
            let toClient = statistics.reduce(0) { $0 + $1.bytesSent }
            let (along, against) = isFromClient ? (fromClient, toClient) : (toClient, fromClient)
            let (words, answer) = isFromClient ? (8, 6) : (6, 8)
            #expect(along == UInt64(data.count + words), "what the kernel took during the cancellation counts")
            #expect(against == UInt64(18 + answer))
            try stage.finish()
        }
    }

    @Test("unsent bytes go before unread ones, and those before new ones, on both sides")
    func order() throws {
        try DescriptorTable.leavingNothing {
            let proxy = try ProxyThread(to: [.ipv4(0x7f00_0001, port: 1)])
            let (client, servedClient) = try servedSocket()
            let (server, servedServer) = try servedSocket()
            let pair = FrozenPair(
                upstreamAddress: .ipv4(0x7f00_0001, port: 1), lastActivity: .now,
                client: ConnectionRemainder(unread: Array("quest".utf8), unsent: Array("an".utf8))!,
                upstream: ConnectionRemainder(unread: Array("swe".utf8), unsent: Array("the ".utf8))!)!
            try client.send("ion")
            try server.send("r")
            try proxy.thaw(FrozenBox(Self.frozen([servedClient, servedServer], FrozenState.pair(pair).encoded)))
            #expect(try server.receiveText(12) == "the question")
            #expect(try client.receiveText(6) == "answer")
            try proxy.finishProxy()
        }
    }

    @Test(
        "a pair of which one side has said FIN goes on in the other direction, and ends in the new process",
        arguments: ProxiedPair.Direction.allCases, [0, 32 << 20])
    func halfClosed(direction: ProxiedPair.Direction, count: Int) throws {
        try DescriptorTable.leavingNothing {
            let stage = try Stage()
            let (first, second) =
                direction == .fromClient ? (stage.client, stage.server) : (stage.server, stage.client)
            let data = pattern(count, seed: 6)
            // With bytes, FIN waits behind what the other side has not read yet.
            let sent = try first.sendUntilStuck(data)
            first.finishOutput()
            if sent == 0 { #expect(try second.isAtEnd()) }
            try stage.old.move(to: stage.new)
            #expect(try second.receive(sent) == Array(data[..<sent]))
            #expect(try second.isAtEnd())
            try second.send("the last word")
            #expect(try first.receiveText(13) == "the last word")
            second.finishOutput()
            #expect(try first.isAtEnd())
            try stage.new.waitUntilEnded(1)
            try stage.finish()
        }
    }

    @Test("RST from one side after the move is RST to the other", arguments: ProxiedPair.Direction.allCases)
    func reset(direction: ProxiedPair.Direction) throws {
        try DescriptorTable.leavingNothing {
            let stage = try Stage()
            try stage.old.move(to: stage.new)
            #expect(try stage.passesBytes())
            let isFromClient = direction == .fromClient
            (isFromClient ? stage.client : stage.server).reset()
            #expect(try (isFromClient ? stage.server : stage.client).isReset())
            try stage.new.waitUntilEnded(1)
            try stage.finish()
        }
    }

    @Test(
        "a side that breaks while both let go ends the other, whichever comes first",
        arguments: ProxiedPair.Direction.allCases)
    func brokenWhileFreezing(direction: ProxiedPair.Direction) throws {
        try DescriptorTable.leavingNothing {
            let upstream = try FakeUpstream()
            let proxy = try ProxyThread(to: [upstream.address])
            var movedUnnoticed = 0
            for round in 1...20 {
                let client = try Peer(to: proxy.address)
                let server = try upstream.accept()
                try eventually("the two to be joined") {
                    try proxy.on { service, _ in service.sessions.values.first?.upstream != nil }
                }
                let (broken, other) = direction == .fromClient ? (client, server) : (server, client)
                // Within one turn of the loop: the kernel knows of the RST before it hears of the cancellation.
                try proxy.on { service, _ in
                    broken.reset()
                    #expect(service.freeze(1) == 1)
                }
                let before = movedUnnoticed
                let state = try proxy.state.wait(for: "an end of either kind") {
                    $0.ended + $0.frozen.count - before == round
                }
                // It may have left before the RST was noticed; then whoever goes on with it notices.
                if state.frozen.count > before {
                    movedUnnoticed += 1
                    try proxy.thaw(state.frozen[before])
                    try proxy.state.wait(for: "its end") { $0.ended == round }
                }
                #expect(try other.isReset())
                #expect(try proxy.upstreamConnections == [0])
            }
            try proxy.finishProxy()
        }
    }

    @Test("closeAll ends also what is being frozen")
    func closedWhileFreezing() throws {
        try DescriptorTable.leavingNothing {
            let stage = try Stage()
            try stage.old.on { service, _ in
                #expect(service.freeze(1) == 1)
                #expect(service.freezing == 1 && service.freeze(1) == 0)
                service.closeAll()
                #expect(service.freezing == 0)
            }
            #expect(try stage.client.isEnded())
            #expect(try stage.server.isEnded())
            try stage.old.waitUntilEnded(1)
            try stage.finish()
        }
    }

    @Test("a PROXY protocol header that has been sent is not sent again", arguments: ProxyVersion.allCases)
    func headerOnce(version: ProxyVersion) throws {
        try DescriptorTable.leavingNothing {
            let stage = try Stage { $0.sendsProxyHeader = version }
            let header = ProxyHeader.proxied(source: stage.client.localAddress, destination: stage.old.address)
            let bytes = header.encoded(version)
            #expect(try stage.server.receive(bytes.count) == bytes)
            try stage.old.move(to: stage.new)
            #expect(try stage.passesBytes())
            try stage.finish()
        }
    }

    @Test("a client is not asked again for the PROXY protocol header that it has sent")
    func clientHeaderOnce() throws {
        try DescriptorTable.leavingNothing {
            let upstream = try FakeUpstream()
            let old = try ProxyThread(to: [upstream.address]) { $0.acceptsProxyHeader = true }
            let new = try ProxyThread(to: [upstream.address]) { $0.acceptsProxyHeader = true }
            let client = try Peer(to: old.address)
            try old.state.wait(for: "the client to be accepted") { $0.served == 1 }
            #expect(try old.on { service, _ in service.freeze(1) } == 0, "it has sent no header yet")
            try client.send("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nearly")
            let server = try upstream.accept()
            #expect(try server.receiveText(5) == "early")
            try old.move(to: new)
            try client.send("PROXY is payload now")
            #expect(try server.receiveText(20) == "PROXY is payload now")
            try old.finishProxy()
            try new.finishProxy()
        }
    }

    @Test("a client that is still being connected stays, and can move when it has its upstream")
    func connecting() throws {
        try DescriptorTable.leavingNothing {
            let hanging = try HangingUpstream()
            let upstream = try FakeUpstream()
            let proxy = try ProxyThread(to: [hanging.address, upstream.address]) {
                $0.connectTimeout = .milliseconds(300)
            }
            let client = try Peer(to: proxy.address)
            try proxy.state.wait(for: "the client to be accepted") { $0.served == 1 }
            #expect(try proxy.on { service, _ in service.freeze(1) } == 0)
            let server = try upstream.accept()
            try eventually("it to be movable") { try proxy.on { service, _ in service.freeze(1) } == 1 }
            let state = try proxy.state.wait(for: "it to be frozen") { $0.frozen.count == 1 }
            try proxy.thaw(state.frozen[0])
            try client.send("through")
            #expect(try server.receiveText(7) == "through")
            try proxy.finishProxy()
        }
    }

    @Test("the time without a byte goes on across the move; one from the future counts as now")
    func idle() throws {
        try DescriptorTable.leavingNothing {
            let stage = try Stage { $0.idleTimeout = .seconds(1000) }
            #expect(try stage.passesBytes())
            let before = try Self.lastActivity(stage.old)
            let box = try stage.old.freezeOne()
            try stage.new.thaw(box)
            #expect(try Self.lastActivity(stage.new) == before)

            for (moment, isOver) in [(MonotonicTime(nanoseconds: 1), true), (.distantFuture, false)] {
                let proxy = try ProxyThread(to: [.ipv4(0x7f00_0001, port: 1)]) { $0.idleTimeout = .milliseconds(1) }
                let patient = try ProxyThread(to: [.ipv4(0x7f00_0001, port: 1)]) { $0.idleTimeout = .seconds(1000) }
                let (client, servedClient) = try servedSocket()
                let (server, servedServer) = try servedSocket()
                let pair = FrozenPair(
                    upstreamAddress: .ipv4(0x7f00_0001, port: 1), lastActivity: moment, client: .none, upstream: .none)!
                let box = FrozenBox(Self.frozen([servedClient, servedServer], FrozenState.pair(pair).encoded))
                if isOver {
                    try proxy.thaw(box)
                    #expect(try client.isEnded() && server.isEnded())
                    try proxy.waitUntilEnded(1)
                } else {
                    try patient.thaw(box)
                    #expect(try Self.lastActivity(patient) <= .now)
                }
                try proxy.finishProxy()
                try patient.finishProxy()
            }
            try stage.finish()
        }
    }

    @Test("a state that makes no sense closes both sockets, and no pool counts them", arguments: ["", "echo", "three"])
    func damaged(kind: String) throws {
        try DescriptorTable.leavingNothing {
            let proxy = try ProxyThread(to: [.ipv4(0x7f00_0001, port: 1)])
            let (client, servedClient) = try servedSocket()
            let (server, servedServer) = try servedSocket()
            var sockets = [servedClient, servedServer]
            let pair = FrozenPair(
                upstreamAddress: .ipv4(0x7f00_0001, port: 1), lastActivity: .now, client: .none, upstream: .none)!
            var state = FrozenState.pair(pair).encoded
            switch kind {
            case "three": sockets.append(dup(servedServer))
            case "echo": state = FrozenState.echo(.none).encoded
            default: state = Array(kind.utf8)
            }
            let box = FrozenBox(Self.frozen(sockets, state))
            #expect(try proxy.tryThaw(box) == false)
            box.letGo()
            #expect(try client.isAtEnd() && server.isAtEnd())
            #expect(try proxy.upstreamConnections == [0])
            #expect(try proxy.on { service, _ in service.pool.connectionsElsewhere } == 0)
            try proxy.finishProxy()
        }
    }

    private struct Output: Equatable {
        /// More is queued, or in a pipe, than the socket takes.
        var isHeldUp: Bool
        var queued: Int
        var sent: UInt64
    }

    /// The side of the only pair that bytes from the client, or to it, go out by.
    private static func output(_ proxy: ProxyThread, _ isFromClient: Bool) throws -> Output {
        try proxy.on { service, _ in
            let session = service.sessions.values.first!
            let leg: ProxyLeg = isFromClient ? session.upstream! : session.client
            return Output(
                isHeldUp: !leg.isWritable || leg.queuedSegments > 0, queued: leg.queuedBytes, sent: leg.bytesSent)
        }
    }

    private static func lastActivity(_ proxy: ProxyThread) throws -> MonotonicTime {
        try proxy.on { service, _ in
            let session = service.sessions.values.first!
            return max(session.client.lastActivity, session.upstream!.lastActivity)
        }
    }

    private static func frozen(_ sockets: [Int32], _ state: [UInt8]) -> FrozenConnection {
        FrozenConnection(
            listener: 0, peer: .ipv4(0x7f00_0001, port: 9), acceptedAt: .now, sockets: sockets, state: state)
    }
}
