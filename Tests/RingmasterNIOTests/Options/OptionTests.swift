import Glibc
import NIOCore
import Testing

@testable import RingmasterNIO
@testable import Transport
@testable import TransportTesting

@Suite("Channel options")
struct OptionTests {
    /// Sets and gets an option in every way there is.
    private static func check<Option: ChannelOption & Sendable>(
        _ option: Option, _ value: Option.Value, on channel: any NIOCore.Channel,
        _ isSame: @escaping @Sendable (Option.Value) -> Bool
    ) async throws where Option.Value: Sendable {
        try await outcome(channel.setOption(option, value: value)).get()
        #expect(isSame(try await outcome(channel.getOption(option)).get()), "\(option)")
        let (first, second) = try await outcome(
            channel.eventLoop.flatSubmit {
                channel.setOption(option, value: value).flatMap { channel.getOption(option) }.and(
                    channel.eventLoop.submit {
                        let options = try #require(channel.syncOptions)
                        try options.setOption(option, value: value)
                        return try options.getOption(option)
                    })
            }
        ).get()
        #expect(isSame(first) && isSame(second), "\(option)")
    }

    @Test("Each is set and got, on the loop and off it, and synchronously", arguments: streamTransports)
    func setAndGet(transport: TransportKind) async throws {
        try await withAccepted(transport) { it async throws in
            let channel = it.channel
            try await Self.check(.autoRead, false, on: channel) { !$0 }
            try await Self.check(.autoRead, true, on: channel) { $0 }
            try await Self.check(.maxMessagesPerRead, 9, on: channel) { $0 == 9 }
            try await Self.check(.allowRemoteHalfClosure, true, on: channel) { $0 }
            try await Self.check(.writeBufferWaterMark, .init(low: 5, high: 6), on: channel) {
                $0.low == 5 && $0.high == 6
            }
            try await Self.check(.connectTimeout, .seconds(3), on: channel) { $0 == .seconds(3) }
            try await Self.check(.connectTimeout, nil, on: channel) { $0 == nil }
            try await Self.check(.tcpOption(.tcp_nodelay), 0, on: channel) { $0 == 0 }
            try await Self.check(.tcpOption(.tcp_nodelay), 1, on: channel) { $0 != 0 }
            try await Self.check(.socketOption(.so_keepalive), 1, on: channel) { $0 == 1 }
            try await Self.check(.socketOption(.so_rcvbuf), 100_000, on: channel) { $0 == 200_000 }
            try await Self.check(.recvAllocator, FixedSizeRecvByteBufferAllocator(capacity: 7), on: channel) {
                ($0 as? FixedSizeRecvByteBufferAllocator)?.capacity == 7
            }
            try await Self.check(.allocator, ByteBufferAllocator(), on: channel) { _ in true }
            try await outcome(channel.setOption(.writeSpin, value: 3)).get()
            try await Self.check(.autoRead, true, on: it.listener) { $0 }
            try await Self.check(.backlog, 5, on: it.listener) { $0 == 5 }
            try await Self.check(.socketOption(.so_reuseaddr), 1, on: it.listener) { $0 == 1 }
            try await outcome(
                it.listener.setOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 7))
            ).get()
        }
    }

    @Test("One that it has not fails, and nothing else happens", arguments: streamTransports)
    func unsupported(transport: TransportKind) async throws {
        try await withAccepted(transport) { it async throws in
            #expect(
                try await failure(it.channel.setOption(.backlog, value: 1)) as? ChannelError == .operationUnsupported)
            #expect(try await failure(it.channel.getOption(.backlog)) as? ChannelError == .operationUnsupported)
            #expect(
                try await failure(it.listener.setOption(.allowRemoteHalfClosure, value: true)) as? ChannelError
                    == .operationUnsupported)
            #expect(
                (try await failure(it.channel.getOption(.socket(-5, -5))) as? IOError)?.errnoCode
                    == EOPNOTSUPP)
            #expect(it.channel.isActive && it.listener.isActive)
        }
    }

    @Test("Two options of one type are kept apart", arguments: streamTransports)
    func distinct(transport: TransportKind) async throws {
        try await withAccepted(transport) {
            $0.childChannelOption(.socketOption(.so_keepalive), value: 1)
                .childChannelOption(.tcpOption(.tcp_nodelay), value: 0)
                .childChannelOption(.socketOption(.so_rcvbuf), value: 50_000)
        } _: { it async throws in
            #expect(try await it.channel.getOption(.socketOption(.so_keepalive)).get() == 1)
            #expect(try await it.channel.getOption(.tcpOption(.tcp_nodelay)).get() == 0)
            #expect(try await it.channel.getOption(.socketOption(.so_rcvbuf)).get() == 100_000)
        }
    }

    @Test("Typed socket options: linger, buffer sizes, tcp_info", arguments: streamTransports)
    func typed(transport: TransportKind) async throws {
        try await withAccepted(transport) { it async throws in
            let provider = try #require(it.channel as? any SocketOptionProvider)
            #expect(try await provider.getSoLinger().get().l_onoff == 0)
            try await provider.setSoLinger(linger(l_onoff: 1, l_linger: 7)).get()
            let set = try await provider.getSoLinger().get()
            #expect(set.l_onoff == 1 && set.l_linger == 7)
            let info = try await provider.getTCPInfo().get()
            #expect(Int32(info.tcpi_state) == Int32(TCP_ESTABLISHED))
            let timeout: timeval = try await provider.unsafeGetSocketOption(level: .socket, name: .so_rcvtimeo).get()
            #expect(timeout.tv_sec == 0)
            // A byte is no linger.
            let wrong = provider.unsafeSetSocketOption(level: .socket, name: .so_linger, value: UInt8(1))
            #expect((try await failure(wrong) as? IOError)?.errnoCode == EINVAL)
            let fromLoop = try await outcome(it.channel.eventLoop.flatSubmit { provider.getSoLinger() }).get()
            #expect(fromLoop.l_linger == 7)
            try await provider.setSoLinger(linger(l_onoff: 0, l_linger: 0)).get()
            try await it.channel.close().get()
            #expect(try await failure(provider.getSoLinger()) as? ChannelError == .ioOnClosedChannel)
        }
    }

    @Test("TCP_NODELAY set on a Unix-domain socket does nothing", arguments: streamTransports)
    func noDelayOfUnix(transport: TransportKind) async throws {
        try await withAccepted(transport, .unix) {
            $0.childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
        } _: { it async throws in
            #expect(it.channel.isActive)
            try await outcome(it.channel.setOption(.tcpOption(.tcp_nodelay), value: 1)).get()
        }
    }

    @Test(
        "The descriptor is lent to who asks for the transport, until the channel is closed", arguments: streamTransports
    )
    func transportAccess(transport: TransportKind) async throws {
        try await withAccepted(transport) { it async throws in
            for channel in [it.channel, it.listener] {
                let accepting = try await channel.eventLoop.submit {
                    try channel.pipeline.syncOperations.withUnsafeTransportIfAvailable(of: CInt.self) { fd in
                        var value: CInt = -1
                        var length = socklen_t(MemoryLayout<CInt>.size)
                        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &length)
                        return value
                    }
                }.get()
                #expect(accepting == (channel === it.listener ? 1 : 0))
                let other = try await channel.eventLoop.submit {
                    try channel.pipeline.syncOperations.withUnsafeTransportIfAvailable(of: String.self) { _ in 1 }
                }.get()
                #expect(other == nil)
            }
            let channel = it.channel
            try await channel.close().get()
            let stream = it.stream
            try await it.onLoop { () -> Void in
                #expect(throws: ChannelError.ioOnClosedChannel) { try stream.withUnsafeTransport { _ in } }
            }
        }
    }

    @Test("A smaller high mark holds for the next write", arguments: streamTransports)
    func marksLater(transport: TransportKind) async throws {
        try await withAccepted(transport) { it async throws in
            let channel = it.channel
            try await it.onLoop {
                channel.write(ByteBuffer(pattern(100)), promise: nil)
                try channel.syncOptions?.setOption(.writeBufferWaterMark, value: .init(low: 1, high: 50))
                #expect(channel.isWritable)
                channel.write(ByteBuffer(), promise: nil)
                #expect(!channel.isWritable)
                channel.flush()
            }
            try await it.journal.wait(for: "writable true")
        }
    }

    @Test("Idle channels are told of by IdleStateHandler", arguments: streamTransports)
    func idle(transport: TransportKind) async throws {
        for event in [IdleStateHandler.IdleStateEvent.read, .write, .all] {
            let handler: @Sendable () -> IdleStateHandler = {
                switch event {
                case .read: IdleStateHandler(readTimeout: .milliseconds(5))
                case .write: IdleStateHandler(writeTimeout: .milliseconds(5))
                case .all: IdleStateHandler(allTimeout: .milliseconds(5))
                }
            }
            try await withAccepted(transport) {
                $0
            } initialize: { channel in
                try? channel.pipeline.syncOperations.addHandler(handler(), position: .first)
            } _: { it async throws in
                try await it.journal.wait(for: "event \(event)")
                try await it.peer.send("x")
                try await outcome(it.channel.sending(ByteBuffer(string: "x"))).get()
                try await it.journal.wait(for: "read 1")
                try await soon("three events") { it.journal.count("event \(event)") >= 3 }
                #expect(it.journal.bytes == Array("x".utf8) && it.journal.has("active"))
            }
        }
    }
}
