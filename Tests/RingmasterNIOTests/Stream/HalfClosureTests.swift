import Glibc
import NIOCore
import Testing

@testable import RingmasterNIO
@testable import Transport
@testable import TransportTesting

@Suite("Half-closed stream channels")
struct HalfClosureTests {
    @Test(
        "The own output closed: the peer reads the end, its bytes still come, writes fail",
        arguments: across(streamTransports, StreamFamily.allCases))
    func ownOutput(transport: TransportKind, family: StreamFamily) async throws {
        try await withAccepted(transport, family) { it async throws in
            it.channel.write(ByteBuffer(string: "last"), promise: nil)
            it.channel.flush()
            try await outcome(it.channel.close(mode: .output)).get()
            try await it.journal.wait(for: "event outputClosed")
            #expect(try await it.peer.receiveToEnd() == Array("last".utf8))
            #expect(try await failure(it.channel.holding(ByteBuffer(string: "x"))) as? ChannelError == .outputClosed)
            #expect(try await failure(it.channel.close(mode: .output)) as? ChannelError == .outputClosed)
            try await it.peer.send("answer")
            try await it.journal.wait(forBytes: 6)
            #expect(it.channel.isActive)
            it.peer.close()
            try await it.journal.wait(for: "removed")
            #expect(!it.journal.events.contains { $0.hasPrefix("error") })
        }
    }

    @Test("The output is closed behind everything that was written", arguments: streamTransports)
    func outputBehindWrites(transport: TransportKind) async throws {
        let bytes = pattern(4 << 20)
        try await withAccepted(transport, receiveBuffer: 8192) { it async throws in
            let (channel, journal) = (it.channel, it.journal)
            let closed = try await it.onLoop {
                channel.holding(ByteBuffer(bytes)).whenSuccess { journal.note("written") }
                channel.flush()
                let closed = channel.close(mode: .output)
                closed.whenSuccess { journal.note("output closed") }
                // A second wish has the same end.
                channel.close(mode: .output).whenSuccess { journal.note("output closed again") }
                return closed
            }
            #expect(!journal.has("output closed"))
            #expect(try await it.peer.receiveToEnd().isSame(as: bytes))
            try await outcome(closed).get()
            try await journal.wait(for: "event outputClosed")
            let order = ["written", "output closed", "output closed again", "event outputClosed"]
            #expect(journal.events.filter { order.contains($0) } == order)
        }
    }

    @Test("Writability comes back while the output is closing", arguments: streamTransports)
    func writableWhileClosing(transport: TransportKind) async throws {
        try await withAccepted(transport, receiveBuffer: 8192) { it async throws in
            let channel = it.channel
            let closed = try await it.onLoop {
                channel.writeAndFlush(ByteBuffer(pattern(8_000_000)), promise: nil)
                return channel.close(mode: .output)
            }
            #expect(!channel.isWritable)
            #expect(try await it.peer.receiveToEnd().isSame(as: pattern(8_000_000)))
            try await outcome(closed).get()
            try await it.journal.wait(for: "event outputClosed")
            let told = it.journal.events.filter { $0.hasPrefix("writable") || $0.hasPrefix("event") }
            #expect(told == ["writable false", "writable true", "event outputClosed"])
        }
    }

    @Test("Writes that were not flushed keep the output open until they are", arguments: streamTransports)
    func outputWaitsForFlush(transport: TransportKind) async throws {
        try await withAccepted(transport) { it async throws in
            let channel = it.channel
            let closed = try await it.onLoop {
                channel.write(ByteBuffer(string: "held"), promise: nil)
                return channel.close(mode: .output)
            }
            try await it.peer.send("x")
            try await it.journal.wait(for: "readComplete")
            #expect(!it.journal.has("event outputClosed"))
            channel.flush()
            try await outcome(closed).get()
            #expect(try await it.peer.receiveToEnd() == Array("held".utf8))
        }
    }

    @Test(
        "The peer's end is an event where half-closure is allowed, and the output stays open",
        arguments: across(streamTransports, StreamFamily.allCases, [true, false]))
    func peerFinishes(transport: TransportKind, family: StreamFamily, autoRead: Bool) async throws {
        try await withAccepted(transport, family) {
            $0.childChannelOption(.allowRemoteHalfClosure, value: true).childChannelOption(.autoRead, value: autoRead)
        } _: { it async throws in
            try await it.peer.send("question")
            it.peer.finishOutput()
            try await it.journal.wait(for: "event inputClosed")
            #expect(it.journal.bytes == Array("question".utf8))
            #expect(it.journal.events.suffix(2) == ["readComplete", "event inputClosed"])
            #expect(it.channel.isActive)
            try await outcome(it.channel.sending(ByteBuffer(string: "answer"))).get()
            #expect(try await it.peer.receive(exactly: 6) == Array("answer".utf8))
            #expect(try await failure(it.channel.close(mode: .input)) as? ChannelError == .inputClosed)
            // With both sides closed nothing is left of it.
            try await outcome(it.channel.close(mode: .output)).get()
            try await outcome(it.channel.closeFuture).get()
            #expect(try await it.peer.receive().isEmpty)
            #expect(it.journal.events.suffix(3) == ["inactive", "unregistered", "removed"])
        }
    }

    @Test(
        "The peer's end after the own ends the channel, half-closure allowed or not",
        arguments: across(streamTransports, [true, false]))
    func bothFinish(transport: TransportKind, allowed: Bool) async throws {
        try await withAccepted(transport) {
            $0.childChannelOption(.allowRemoteHalfClosure, value: allowed)
        } _: { it async throws in
            try await outcome(it.channel.close(mode: .output)).get()
            #expect(try await it.peer.receive().isEmpty)
            it.peer.finishOutput()
            try await outcome(it.channel.closeFuture).get()
            #expect(!it.journal.has("event inputClosed"))
        }
    }

    @Test(
        "The own input closed: nothing is read any more, and writing goes on",
        arguments: across(streamTransports, StreamFamily.allCases))
    func ownInput(transport: TransportKind, family: StreamFamily) async throws {
        try await withAccepted(transport, family) { it async throws in
            try await outcome(it.channel.close(mode: .input)).get()
            try await it.journal.wait(for: "event inputClosed")
            #expect(try await failure(it.channel.close(mode: .input)) as? ChannelError == .inputClosed)
            // On a Unix-domain socket this fails with EPIPE.
            try? await it.peer.send("unheard")
            it.channel.read()
            try await outcome(it.channel.sending(ByteBuffer(string: "heard"))).get()
            #expect(try await it.peer.receive(exactly: 5) == Array("heard".utf8))
            #expect(it.journal.bytes.isEmpty && it.channel.isActive)
            try await outcome(it.channel.close(mode: .output)).get()
            try await outcome(it.channel.closeFuture).get()
        }
    }

    @Test("Closing the input when the output is closed closes all", arguments: streamTransports)
    func escalates(transport: TransportKind) async throws {
        try await withAccepted(transport) { it async throws in
            try await outcome(it.channel.close(mode: .output)).get()
            try await outcome(it.channel.close(mode: .input)).get()
            try await outcome(it.channel.closeFuture).get()
            #expect(!it.journal.has("event inputClosed"))
        }
    }

    @Test("With input closed, writes that the peer has yet to take precede the end", arguments: streamTransports)
    func outputLast(transport: TransportKind) async throws {
        let bytes = pattern(3 << 20)
        try await withAccepted(transport, receiveBuffer: 8192) {
            $0.childChannelOption(.allowRemoteHalfClosure, value: true)
        } _: { it async throws in
            it.peer.finishOutput()
            try await it.journal.wait(for: "event inputClosed")
            let channel = it.channel
            let closed = try await it.onLoop {
                channel.writeAndFlush(ByteBuffer(bytes), promise: nil)
                return channel.close(mode: .output)
            }
            #expect(try await it.peer.receiveToEnd().isSame(as: bytes))
            try await outcome(closed).get()
            try await outcome(channel.closeFuture).get()
        }
    }

    @Test("The output may be closed in channelActive and in the event of the peer's end", arguments: streamTransports)
    func fromCallbacks(transport: TransportKind) async throws {
        try await withAccepted(transport) {
            $0.childChannelOption(.allowRemoteHalfClosure, value: true)
        } spy: { spy in
            spy.on["active"] = { context in
                context.channel.write(ByteBuffer(string: "greeting"), promise: nil)
                context.channel.flush()
                context.close(mode: .output, promise: nil)
            }
        } _: { it async throws in
            #expect(try await it.peer.receiveToEnd() == Array("greeting".utf8))
            it.peer.close()
            try await outcome(it.channel.closeFuture).get()
        }
    }

    @Test("What a half-closed peer is answered before it is closed reaches it", arguments: streamTransports)
    func answerAtTheEnd(transport: TransportKind) async throws {
        try await withAccepted(transport) {
            $0
        } spy: { spy in
            spy.on["read"] = { context in
                context.writeAndFlush(Spy.wrapOutboundOut(.byteBuffer(ByteBuffer(string: "answer"))), promise: nil)
            }
        } _: { it async throws in
            try await it.peer.send("question")
            it.peer.finishOutput()
            #expect(try await it.peer.receiveToEnd() == Array("answer".utf8))
        }
    }

    @Test("A close of the output that the channel's end overtakes fails", arguments: streamTransports)
    func overtaken(transport: TransportKind) async throws {
        try await withAccepted(transport, receiveBuffer: 8192) { it async throws in
            let channel = it.channel
            let closed = try await it.onLoop {
                channel.writeAndFlush(ByteBuffer(pattern(8 << 20)), promise: nil)
                let closed = channel.close(mode: .output)
                channel.close(promise: nil)
                return closed
            }
            #expect(try await failure(closed) as? ChannelError == .ioOnClosedChannel)
        }
    }

    @Test("FIN follows an empty write that is flushed when the output is closed already", arguments: streamTransports)
    func emptyWrite(transport: TransportKind) async throws {
        try await withAccepted(transport) { it async throws in
            let channel = it.channel
            let (written, closed) = try await it.onLoop {
                let written = channel.holding(ByteBuffer())
                let closed = channel.close(mode: .output)
                channel.flush()
                return (written, closed)
            }
            try await outcome(written).get()
            try await outcome(closed).get()
            #expect(try await it.peer.receiveToEnd() == [])
        }
    }
}
