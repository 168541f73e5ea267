import CSocket
import Glibc
import Testing

@testable import Transport
@testable import TransportTesting

/// Sends that find no room, and waits for it that end in any order: each made up by the test.
@Suite("Waiting for room: order of completions")
struct RoomOrderTests {
    private let kernel = ScriptedKernel()
    private let recorder = Recorder<Happening>()
    private let progress = Recorder<UInt64>()
    private static let finished = Int32(CSOCKET_POLLRDHUP)
    private static let finishedWithRoom = finished | Int32(POLLOUT)

    typealias Step = (ScriptedKernel, RecordingConnection) -> Void

    /// A connection on the scripted kernel, reading. Its socket is real, and idle but for plain calls.
    private func run(zeroCopyThreshold: Int? = nil, _ steps: [Step]) throws {
        var configuration = ConnectionConfiguration()
        configuration.zeroCopyThreshold = zeroCopyThreshold
        let (near, far) = try tcpPair()
        defer { close(far) }
        var connection: RecordingConnection?
        try kernel.run(
            setUp: { loop in
                connection = RecordingConnection(loop, fd: near, recorder, configuration)
                connection?.onProgressed = { [progress] in progress.record($0.bytesSent) }
                connection?.start()
            },
            all: steps.map { step in { kernel in step(kernel, connection!) } })
        #expect(connection?.loop.chunks.takenCount == 0, "memory was not given back")
    }

    /// The peer has sent FIN, 100 bytes have found no room, and the wait by multishot has just told of some.
    private static func roomAfterFIN() -> [Step] {
        [
            { _, connection in connection.write(pattern(100)) },
            { kernel, _ in kernel.complete(.send, -EAGAIN) },
            { kernel, _ in kernel.complete(.pollWrite, finished) },
            { kernel, _ in
                guard case .poll(_, _, multishot: true)? = kernel.only(.pollWrite)?.operation else {
                    Issue.record("asked again, without waiting for an edge")
                    return
                }
                kernel.complete(.pollWrite, finished, more: true)
            },
            { kernel, _ in
                #expect(kernel.count(.send) == 0 && kernel.count(.cancelPollWrite) == 0, "no room yet")
                kernel.complete(.pollWrite, finishedWithRoom, more: true)
            },
        ]
    }

    @Test("a send without room waits for it and is tried again; there is no progress to tell of")
    func roomAtOnce() throws {
        try run([
            { _, connection in connection.write(pattern(100)) },
            { kernel, _ in kernel.complete(.send, -EAGAIN) },
            { kernel, connection in
                #expect(kernel.count(.send) == 0 && kernel.count(.pollWrite) == 1)
                connection.write([1])
            },
            { kernel, _ in
                #expect(kernel.count(.send) == 0, "what is written meanwhile waits, too")
                kernel.complete(.pollWrite, Int32(POLLOUT))
            },
            { kernel, _ in
                #expect(kernel.count(.pollWrite) == 0 && progress.all.isEmpty)
                kernel.complete(.send, 101)
            },
            { _, _ in #expect(progress.all == [101] && recorder.all == [.flushed]) },
        ])
    }

    @Test("after FIN the next wait begins when the one before has ended, however late its cancellation finds it")
    func settling() throws {
        try run(
            Self.roomAfterFIN() + [
                { kernel, _ in
                    #expect(kernel.count(.send) == 1 && kernel.count(.cancelPollWrite) == 1)
                    kernel.complete(.send, -EAGAIN)
                },
                { kernel, _ in
                    #expect(kernel.count(.send) == 0 && kernel.count(.pollWrite) == 1)
                    kernel.complete(.pollWrite, Self.finishedWithRoom, more: true)
                    kernel.complete(.cancelPollWrite, -EALREADY)
                },
                { kernel, _ in
                    #expect(kernel.count(.send) == 0 && kernel.count(.cancelPollWrite) == 1, "cancelled again")
                    kernel.complete(.cancelPollWrite, 0)
                    kernel.complete(.pollWrite, -ECANCELED)
                },
                { kernel, _ in
                    #expect(kernel.count(.send) == 1 && kernel.count(.pollWrite) == 0 && progress.all.isEmpty)
                    kernel.complete(.send, 60)
                },
                { kernel, _ in kernel.complete(.send, 40) },
                { _, _ in #expect(progress.all == [60, 100] && recorder.all == [.flushed]) },
            ])
    }

    @Test("a wait that ends after the send has found room disturbs nobody")
    func lateEnd() throws {
        try run(
            Self.roomAfterFIN() + [
                { kernel, _ in kernel.complete(.pollWrite, -ECANCELED) },
                { kernel, _ in
                    #expect(kernel.count(.send) == 1)
                    kernel.complete(.cancelPollWrite, 0)
                    kernel.complete(.send, 100)
                },
                { kernel, _ in
                    #expect(kernel.count(.send) == 0 && kernel.count(.pollWrite) == 0)
                    #expect(progress.all == [100] && recorder.all == [.flushed])
                },
            ])
    }

    @Test("what a plain call sends is told in the next turn, whether or not an earlier wait has ended")
    func plainCallWhileSettling() throws {
        let file = try TestFile(pattern(10))
        let region = try file.region(0, 10)
        try run(
            Self.roomAfterFIN() + [
                { kernel, connection in
                    connection.write(file: region)
                    kernel.complete(.send, 100)
                },
                { kernel, connection in
                    #expect(connection.bytesSent == 110 && progress.all == [100] && recorder.all.isEmpty)
                },
                { kernel, _ in
                    #expect(progress.all == [100, 110] && recorder.all == [.flushed])
                    kernel.complete(.pollWrite, -ECANCELED)
                    kernel.complete(.cancelPollWrite, 0)
                },
                { kernel, _ in #expect(kernel.count(.send) == 0 && progress.all == [100, 110]) },
            ])
    }

    @Test("a connection detaches from either wait with all that is unsent", arguments: [true, false])
    func detaching(isSettling: Bool) throws {
        let handed = Recorder<Handed>()
        let detach: Step = { _, connection in
            let isDetaching = connection.detach { detached in handed.record(Handed(detached)) }
            #expect(isDetaching)
        }
        let wait: [Step] =
            isSettling
            ? Self.roomAfterFIN() + [{ kernel, _ in kernel.complete(.send, -EAGAIN) }]
            : Array(Self.roomAfterFIN().prefix(2))
        try run(
            wait + [
                detach,
                { kernel, _ in
                    kernel.complete(.receive, -ECANCELED)
                    kernel.complete(.cancelReceive, 0)
                    // Room after all, and too late.
                    kernel.complete(.pollWrite, Int32(POLLOUT))
                },
                { kernel, _ in
                    #expect(handed.all.isEmpty && kernel.count(.send) == 0)
                    kernel.complete(.cancelPollWrite, -ENOENT)
                },
                { _, _ in #expect(handed.all.map(\.remainder) == [ConnectionRemainder(unsent: pattern(100))]) },
            ])
        #expect(recorder.all.isEmpty && progress.all.isEmpty)
        for handed in handed.all { close(handed.fd) }
    }

    /// A failed send without copying has a notification, too (io_sendrecv_fail in the kernel's io_uring/net.c).
    @Test("sends without copying that find no room wait for it, and keep no slot")
    func zeroCopy() throws {
        var steps: [Step] = [{ _, connection in connection.write(pattern(100)) }]
        for _ in 0..<10 {
            steps += [
                { kernel, _ in
                    #expect(kernel.count(.zeroCopySend0) == 1 && kernel.count(.pollWrite) == 0)
                    kernel.complete(.zeroCopySend0, -EAGAIN, more: true)
                },
                { kernel, _ in
                    #expect(kernel.count(.pollWrite) == 1 && kernel.count(.send) == 0)
                    kernel.complete(.zeroCopySend0, 0, notification: true)
                    kernel.complete(.pollWrite, Int32(POLLOUT))
                },
            ]
        }
        steps += [
            { kernel, _ in
                #expect(progress.all.isEmpty)
                kernel.complete(.zeroCopySend0, 100, more: true)
                kernel.complete(.zeroCopySend0, 0, notification: true)
            },
            { _, _ in #expect(progress.all == [100] && recorder.all == [.flushed]) },
        ]
        try run(zeroCopyThreshold: 10, steps)
    }
}
