import Glibc
import Testing

@testable import Transport
@testable import TransportTesting

/// Receives datagrams into the loop's buffers and records what they carry.
private final class MessageChannel: Channel {
    private let recorder: Recorder<[UInt8]>
    private let header = UnsafeMutablePointer<msghdr>.allocate(capacity: 1)
    /// Of the four numbers before each message: lengths of name, control data and payload, and flags.
    private static let prefix = 16

    init(_ loop: EventLoop, fd: Int32, _ recorder: Recorder<[UInt8]>) {
        self.recorder = recorder
        header.initialize(to: msghdr())
        super.init(loop, fd: fd)
    }

    deinit {
        header.deallocate()
        close(fd)
    }

    func start() {
        register()
        arm()
    }

    private func arm() { submit(.receiveMessages(fd: fd, message: header), .receive) }

    override func completed(_ kind: OperationKind, _ completion: Completion) {
        guard kind == .receive else { return cancellationCompleted() }
        if completion.buffer != nil {
            let bytes = loop.receivedBytes(of: completion)
            #expect(Int(bytes.loadUnaligned(fromByteOffset: 8, as: UInt32.self)) == bytes.count - Self.prefix)
            #expect(bytes.loadUnaligned(fromByteOffset: 12, as: UInt32.self) & UInt32(MSG_TRUNC) == 0)
            recorder.record(Array(bytes.dropFirst(Self.prefix)))
            loop.releaseBytes(of: completion)
        } else if completion.result < 0, completion.result != -ECANCELED {
            Issue.record("receiving messages: errno \(-completion.result)")
        }
        if !completion.hasMore, completion.result >= 0, !isClosing { arm() }
    }
}

@Suite("Event loop: messages in receive buffers")
struct ReceiveBufferMessageTests {
    @Test(
        "every datagram has a whole buffer, whatever streams share the ring",
        arguments: TransportMode.available, [nil, 64] as [UInt32?])
    func whole(mode: TransportMode, sizeMin: UInt32?) throws {
        var configuration = mode.configuration
        configuration.receiveBuffers.count = 16
        configuration.receiveBuffers.size = 1024
        // Sizes that adapt are for buffers that are not shared.
        if let sizeMin {
            (configuration.receiveBuffers.sizeMin, configuration.receiveBuffers.isIncremental) = (sizeMin, false)
        }
        let server = try TestServer(.anyLoopback, configuration, setUp: RecordingConnection.echo)
        var pair: [Int32] = [-1, -1]
        let type = Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        #expect(socketpair(AF_UNIX, type, 0, &pair) == 0)
        let (receiver, sender) = (pair[0], pair[1])
        defer { close(sender) }
        let recorder = Recorder<[UInt8]>()
        try server.thread.on { MessageChannel($0, fd: receiver, recorder).start() }
        let peer = try Peer(connectingTo: server.address)
        for round in 0..<100 {
            // Leaves rests of every length in a buffer that is filled to its end.
            let text = pattern(1 + round * 7 % 97, seed: UInt64(round))
            try peer.send(text)
            #expect(try peer.receive(exactly: text.count) == text)
            let datagram = pattern(900, seed: UInt64(round))
            #expect(send(sender, datagram, datagram.count, 0) == datagram.count)
            #expect(try recorder.next() == datagram)
        }
        try server.join()
    }
}
