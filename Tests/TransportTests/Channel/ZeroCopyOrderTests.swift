import Glibc
import Testing

@testable import Transport
@testable import TransportTesting

/// Sends without copying whose results and notifications a test makes up.
@Suite("Zero-copy sends: order of completions")
struct ZeroCopyOrderTests {
    private let kernel = ScriptedKernel()
    private let recorder = Recorder<Happening>()
    private static let threshold = 1000

    typealias Step = (ScriptedKernel, RecordingConnection) -> Void

    /// A connection on the scripted kernel, which sends nothing. Its socket is real and idle.
    private func run(steps: Step...) throws {
        let (left, right) = try tcpPair()
        defer { close(right) }
        var configuration = ConnectionConfiguration()
        configuration.zeroCopyThreshold = Self.threshold
        (configuration.highWaterMark, configuration.lowWaterMark) = (1 << 20, 1 << 19)
        var connection: RecordingConnection?
        weak let weakly: RecordingConnection?
        try kernel.run(
            setUp: { loop in
                connection = RecordingConnection(loop, fd: left, recorder, configuration)
                connection?.start()
            },
            all: steps.map { step in { kernel in step(kernel, connection!) } })
        #expect(recorder.all.count { $0.isClosed } == 1)
        #expect(connection?.loop.chunks.takenCount == 0, "memory was not given back")
        weakly = connection
        connection = nil
        #expect(weakly == nil)
    }

    /// What the operation in flight would send, read from the memory that it points to.
    private static func bytes(_ kernel: ScriptedKernel, _ kind: OperationKind) -> [UInt8] {
        switch kernel.only(kind)?.operation {
        case .sendMessageZeroCopy(_, let message), .sendMessage(_, let message):
            return (0..<message.pointee.msg_iovlen).flatMap { entry in
                let part = message.pointee.msg_iov[entry]
                return Array(UnsafeRawBufferPointer(start: part.iov_base, count: part.iov_len))
            }
        case .send(_, let bytes, let count):
            return Array(UnsafeRawBufferPointer(start: bytes, count: Int(count)))
        default:
            return []
        }
    }

    private static let kinds: [OperationKind] = [.zeroCopySend0, .zeroCopySend1, .zeroCopySend2, .zeroCopySend3]

    @Test("from the threshold on, in bytes queued, a send does not copy; below it, it does")
    func threshold() throws {
        try run(
            steps: { _, connection in connection.write(pattern(Self.threshold - 1)) },
            { kernel, connection in
                #expect(Self.bytes(kernel, .send) == pattern(Self.threshold - 1))
                kernel.complete(.send, Int32(Self.threshold - 1))
            },
            { _, connection in
                connection.write(pattern(Self.threshold - 1))
                connection.write([7])
            },
            { kernel, _ in
                #expect(kernel.count(.send) == 0)
                #expect(Self.bytes(kernel, .zeroCopySend0) == pattern(Self.threshold - 1) + [7])
                kernel.complete(.zeroCopySend0, Int32(Self.threshold))
            }
        )
        #expect(recorder.events == [.flushed, .flushed, .closed(.loopStopped)])
    }

    @Test("the bytes stay where they are until the notification, while later ones are written and sent")
    func memory() throws {
        let first = pattern(100_000, seed: 1)
        try run(
            steps: { _, connection in connection.write(first) },
            { kernel, connection in
                #expect(Self.bytes(kernel, .zeroCopySend0) == first)
                kernel.complete(.zeroCopySend0, 100_000, more: true)
            },
            { kernel, connection in
                #expect(connection.queuedBytes == 0 && connection.loop.chunks.takenCount == 7)
                connection.write(pattern(100_000, seed: 2))
            },
            { kernel, _ in
                #expect(Self.bytes(kernel, .zeroCopySend1) == pattern(100_000, seed: 2))
                #expect(Self.bytes(kernel, .zeroCopySend0) == first, "overwritten in the kernel's hands")
                // Out of order: the second one's first.
                kernel.complete(.zeroCopySend1, 100_000, more: true)
                kernel.complete(.zeroCopySend1, 0, notification: true)
            },
            { kernel, connection in
                #expect(Self.bytes(kernel, .zeroCopySend0) == first)
                #expect(connection.loop.chunks.takenCount == 7)
                kernel.complete(.zeroCopySend0, 0, notification: true)
            },
            { _, connection in #expect(connection.loop.chunks.takenCount == 0) }
        )
        #expect(recorder.events == [.flushed, .flushed, .closed(.loopStopped)])
    }

    @Test("only one result is awaited at a time, and a short one is followed by what is left")
    func shortResult() throws {
        try run(
            steps: { _, connection in connection.write(pattern(300_000)) },
            { kernel, connection in
                #expect(kernel.inFlight.count { $0.userData.kind.map(Self.kinds.contains) == true } == 1)
                #expect(kernel.count(.send) == 0)
                #expect(Self.bytes(kernel, .zeroCopySend0).count == ByteQueue.gatherMax * Chunk.capacity)
                kernel.complete(.zeroCopySend0, 20_001, more: true)
            },
            { kernel, _ in
                let next = Self.bytes(kernel, .zeroCopySend1)
                #expect(next == Array(pattern(300_000)[20_001..<20_001 + next.count]))
                kernel.complete(.zeroCopySend0, 0, notification: true)
                // Without F_MORE: no notification follows.
                kernel.complete(.zeroCopySend1, 100)
            },
            { kernel, _ in
                let next = Self.bytes(kernel, .zeroCopySend0)
                #expect(next == Array(pattern(300_000)[20_101..<20_101 + next.count]))
            }
        )
    }

    @Test("while four sends wait for their notification the next one copies, and then there is a slot again")
    func allSlotsTaken() throws {
        try run(
            steps: { _, connection in connection.write(pattern(2000, seed: 0)) },
            { kernel, connection in
                kernel.complete(.zeroCopySend0, 2000, more: true)
                connection.write(pattern(2000, seed: 1))
            },
            { kernel, connection in
                kernel.complete(.zeroCopySend1, 2000, more: true)
                connection.write(pattern(2000, seed: 2))
            },
            { kernel, connection in
                kernel.complete(.zeroCopySend2, 2000, more: true)
                connection.write(pattern(2000, seed: 3))
            },
            { kernel, connection in
                kernel.complete(.zeroCopySend3, 2000, more: true)
                connection.write(pattern(2000, seed: 4))
            },
            { kernel, connection in
                for (seed, kind) in Self.kinds.enumerated() {
                    #expect(Self.bytes(kernel, kind) == pattern(2000, seed: UInt64(seed)))
                }
                #expect(Self.bytes(kernel, .send) == pattern(2000, seed: 4))
                kernel.complete(.zeroCopySend2, 0, notification: true)
                kernel.complete(.send, 2000)
                connection.write(pattern(2000, seed: 5))
            },
            { kernel, _ in
                #expect(Self.bytes(kernel, .zeroCopySend2) == pattern(2000, seed: 5))
                for kind in Self.kinds { kernel.complete(kind, 0, notification: kind != .zeroCopySend2) }
            }
        )
        #expect(recorder.all.last?.isClosed == true)
    }

    @Test(
        "a kernel that cannot send without copying gets the same bytes to copy, and is not asked again",
        arguments: [EINVAL, EOPNOTSUPP], [true, false])
    func unsupported(code: Int32, notifies: Bool) throws {
        try run(
            steps: { _, connection in connection.write(pattern(5000)) },
            { kernel, _ in kernel.complete(.zeroCopySend0, -code, more: notifies) },
            { kernel, connection in
                #expect(Self.bytes(kernel, .send) == pattern(5000))
                if notifies { kernel.complete(.zeroCopySend0, 0, notification: true) }
                kernel.complete(.send, 5000)
            },
            { _, connection in connection.write(pattern(6000)) },
            { kernel, _ in
                #expect(Self.bytes(kernel, .send) == pattern(6000))
                kernel.complete(.send, 6000)
            }
        )
        #expect(recorder.events == [.flushed, .flushed, .closed(.loopStopped)])
    }

    @Test("for want of memory one piece is copied, and the next one is not", arguments: [ENOBUFS, ENOMEM])
    func shortOfMemory(code: Int32) throws {
        try run(
            steps: { _, connection in connection.write(pattern(5000)) },
            { kernel, _ in kernel.complete(.zeroCopySend0, -code) },
            { kernel, connection in
                #expect(Self.bytes(kernel, .send) == pattern(5000))
                kernel.complete(.send, 5000)
                connection.write(pattern(6000))
            },
            { kernel, _ in
                #expect(Self.bytes(kernel, .zeroCopySend0) == pattern(6000))
                kernel.complete(.zeroCopySend0, 6000)
            }
        )
    }

    @Test(
        "for want of memory an uncopied piece is copied by the kernel, instead of being tried again for ever",
        arguments: [ENOBUFS, ENOMEM])
    func shortOfMemoryUncopied(code: Int32) throws {
        let releases = Recorder<Int>()
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 5000, alignment: 1)
        defer { memory.deallocate() }
        memory.copyBytes(from: pattern(5000))
        try run(
            steps: { _, connection in
                connection.write(uncopied: UnsafeRawBufferPointer(memory)) { releases.record(1) }
            },
            { kernel, _ in kernel.complete(.zeroCopySend0, -code) },
            { kernel, connection in
                #expect(Self.bytes(kernel, .send) == pattern(5000))
                #expect(releases.all.isEmpty)
                if kernel.count(.send) > 0 { kernel.complete(.send, 5000) }
                connection.write(pattern(6000))
            },
            { kernel, _ in
                #expect(releases.all == [1])
                #expect(Self.bytes(kernel, .zeroCopySend0) == pattern(6000), "the next one is not copied")
            }
        )
    }

    @Test("closing waits for results and cancellations, not for notifications; the memory outlives the socket")
    func closing() throws {
        var descriptor: Int32 = -1
        var socket: FileIdentity?
        try run(
            steps: { _, connection in
                (descriptor, socket) = (connection.fd, FileIdentity(connection.fd))
                connection.write(pattern(2000, seed: 1))
            },
            { kernel, connection in
                kernel.complete(.zeroCopySend0, 2000, more: true)
            },
            { _, connection in connection.write(pattern(3000, seed: 2)) },
            { _, connection in connection.close() },
            { kernel, _ in
                #expect(kernel.count(.cancelZeroCopySend0) == 0, "there is nothing left to cancel")
                kernel.complete(.receive, -ECANCELED)
                kernel.complete(.cancelReceive, 0)
                kernel.complete(.cancelZeroCopySend1, -EALREADY)
            },
            { kernel, _ in
                #expect(!recorder.all.contains { $0.isClosed }, "a result is to come")
                kernel.complete(.zeroCopySend1, -ECANCELED, more: true)
                // Asked for again, since the first one came too early.
                kernel.complete(.cancelZeroCopySend1, 0)
            },
            { kernel, connection in
                #expect(recorder.all.last == .closed(.closed))
                #expect(FileIdentity(descriptor) != socket, "the socket is closed")
                #expect(connection.loop.channelCount == 1 && connection.loop.chunks.takenCount == 2)
                #expect(Self.bytes(kernel, .zeroCopySend0) == pattern(2000, seed: 1))
                #expect(Self.bytes(kernel, .zeroCopySend1) == pattern(3000, seed: 2))
                kernel.complete(.zeroCopySend1, 0, notification: true)
            },
            { kernel, connection in
                #expect(connection.loop.channelCount == 1 && connection.loop.chunks.takenCount == 1)
                kernel.complete(.zeroCopySend0, 0, notification: true)
            },
            { _, connection in #expect(connection.loop.channelCount == 0) }
        )
        #expect(recorder.events == [.flushed, .closed(.closed)])
    }

    @Test("a send that fails ends the connection, and its memory waits for the notification all the same")
    func failure() throws {
        try run(
            steps: { _, connection in connection.write(pattern(2000)) },
            { kernel, _ in kernel.complete(.zeroCopySend0, -ECONNRESET, more: true) },
            { kernel, _ in
                kernel.complete(.receive, -ECANCELED)
                kernel.complete(.cancelReceive, 0)
            },
            { kernel, connection in
                #expect(recorder.all == [.closed(.reset)] && connection.loop.chunks.takenCount == 1)
                #expect(Self.bytes(kernel, .zeroCopySend0) == pattern(2000))
                kernel.complete(.zeroCopySend0, 0, notification: true)
            }
        )
    }
}
