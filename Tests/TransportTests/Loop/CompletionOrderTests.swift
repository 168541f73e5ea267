import Glibc
import Testing

@testable import Transport
@testable import TransportTesting

/// Orders of completions that the kernel may choose, each made up by the test.
@Suite("Order of completions")
struct CompletionOrderTests {
    private let kernel = ScriptedKernel()
    private let recorder = Recorder<Happening>()

    typealias Step = (ScriptedKernel, RecordingConnection) -> Void

    /// A connection on the scripted kernel. Its socket is real and idle.
    private func run(_ configuration: ConnectionConfiguration = .init(), steps: Step...) throws {
        var pair: [Int32] = [-1, -1]
        #expect(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &pair) == 0)
        defer { close(pair[1]) }
        var connection: RecordingConnection?
        try kernel.run(
            setUp: { loop in
                connection = RecordingConnection(loop, fd: pair[0], recorder, configuration)
                connection?.start()
            },
            all: steps.map { step in { kernel in step(kernel, connection!) } })
        #expect(recorder.all.last?.isClosed == true && recorder.all.count { $0.isClosed } == 1)
        #expect(Set(kernel.returnedBuffers).count == kernel.returnedBuffers.count, "a buffer was returned twice")
    }

    @Test("a paused receive may end before its cancellation completes, or after it", arguments: [true, false])
    func cancelledReceive(isReceiveFirst: Bool) throws {
        try run(
            steps: { _, connection in connection.pauseReading() },
            { kernel, _ in
                if isReceiveFirst { kernel.complete(.receive, -ECANCELED) }
                kernel.complete(.cancelReceive, 0)
                if !isReceiveFirst { kernel.complete(.receive, -ECANCELED) }
            },
            { kernel, connection in
                #expect(kernel.count(.receive) == 0 && kernel.count(.cancelReceive) == 0)
                connection.resumeReading()
            },
            { kernel, _ in
                #expect(kernel.count(.receive) == 1)
                kernel.receive([1, 2], buffer: 0)
            }
        )
        #expect(recorder.bytes == [1, 2])
    }

    @Test("a receive armed again before the old cancellation completes is not taken for cancelled")
    func lateCancellation() throws {
        try run(
            steps: { _, connection in connection.pauseReading() },
            { kernel, connection in
                connection.resumeReading()
                kernel.complete(.receive, -ECANCELED)
            },
            { kernel, connection in
                #expect(kernel.count(.receive) == 1, "resumed")
                connection.pauseReading()
            },
            { kernel, _ in
                #expect(kernel.count(.cancelReceive) == 1, "the old one, still on its way")
                kernel.complete(.cancelReceive, 0)
            },
            { kernel, _ in
                #expect(kernel.count(.receive) == 1 && kernel.count(.cancelReceive) == 1, "a cancellation of its own")
                kernel.complete(.receive, -ECANCELED)
                kernel.complete(.cancelReceive, 0)
            },
            { kernel, connection in
                #expect(kernel.count(.receive) == 0)
                connection.resumeReading()
            },
            { kernel, _ in #expect(kernel.count(.receive) == 1) }
        )
    }

    @Test(
        "a cancellation that misses is repeated while reading is paused, and forgotten when it is not",
        arguments: [ENOENT, EALREADY])
    func missedCancellation(code: Int32) throws {
        try run(
            steps: { _, connection in connection.pauseReading() },
            { kernel, _ in kernel.complete(.cancelReceive, -code) },
            { kernel, _ in
                #expect(kernel.count(.cancelReceive) == 1, "repeated")
                kernel.receive([1], buffer: 0)
            },
            { kernel, connection in
                #expect(recorder.all == [], "parked")
                connection.resumeReading()
                kernel.complete(.cancelReceive, -code)
            },
            { kernel, _ in
                #expect(recorder.bytes == [1] && kernel.count(.receive) == 1)
                kernel.receive([2], buffer: 1)
            }
        )
        #expect(recorder.bytes == [1, 2])
    }

    @Test("bytes that arrive between pause and cancellation are parked, and told before newer ones")
    func parked() throws {
        try run(
            steps: { kernel, connection in
                connection.pauseReading()
                kernel.receive([1, 2], buffer: 0)
                kernel.receive([3], buffer: 1, more: false)
            },
            { kernel, connection in
                #expect(recorder.all == [] && connection.parkedBytes == 3)
                connection.resumeReading()
                kernel.complete(.cancelReceive, -ENOENT)
            },
            { kernel, connection in
                #expect(recorder.bytes == [1, 2, 3] && connection.parkedBytes == 0)
                kernel.receive([4], buffer: 2)
            }
        )
        #expect(recorder.bytes == [1, 2, 3, 4])
    }

    @Test("bytes that arrive right after reading is resumed do not overtake parked ones")
    func notOvertaken() throws {
        try run(
            steps: { kernel, connection in
                connection.pauseReading()
                kernel.receive([1, 2], buffer: 0)
            },
            { kernel, connection in
                #expect(connection.parkedBytes == 2)
                connection.resumeReading()
                kernel.receive([3], buffer: 1)
                kernel.complete(.cancelReceive, -ENOENT)
            },
            { _, _ in #expect(recorder.bytes == [1, 2, 3]) }
        )
    }

    @Test("an end of file that comes while paused is told as ending, and after the parked bytes as ended")
    func endWhilePaused() throws {
        try run(
            steps: { kernel, connection in
                connection.onInputEnded = { _ in }
                connection.pauseReading()
                kernel.receive([1], buffer: 0)
                kernel.complete(.receive, 0)
            },
            { kernel, connection in
                #expect(recorder.all == [.inputEnding])
                connection.resumeReading()
                kernel.complete(.cancelReceive, -ENOENT)
            },
            { _, _ in #expect(recorder.all == [.inputEnding, .received([1]), .inputEnded]) }
        )
    }

    @Test("closing asks again for what a cancellation came too early for, and waits for every completion")
    func closeWaits() throws {
        try run(
            steps: { kernel, connection in
                connection.write([1, 2, 3])
                kernel.receive([9], buffer: 0)
            },
            { kernel, connection in
                #expect(kernel.count(.send) == 1)
                connection.close()
            },
            { kernel, _ in
                kernel.complete(.cancelSend, -EALREADY)
                kernel.complete(.cancelReceive, 0)
            },
            { kernel, _ in
                #expect(kernel.count(.cancelSend) == 1, "repeated")
                kernel.complete(.receive, -ECANCELED)
                kernel.complete(.cancelReceive, -ENOENT)
            },
            { kernel, _ in kernel.complete(.cancelSend, -ENOENT) },
            { kernel, connection in
                #expect(!recorder.all.contains { $0.isClosed } && connection.queuedBytes == 3, "the send is in flight")
                kernel.complete(.send, 3)
            },
            { kernel, _ in kernel.complete(.cancelSend, -ENOENT) },
            { _, connection in
                #expect(recorder.all == [.received([9]), .closed(.closed)] && connection.queuedBytes == 0)
            }
        )
    }

    @Test("bytes that arrive after close() are dropped, and their buffers go back")
    func bytesAfterClose() throws {
        try run(
            steps: { kernel, connection in
                connection.close()
                kernel.receive([1], buffer: 3)
                kernel.receive([2], buffer: 1, more: false)
            },
            { kernel, _ in kernel.complete(.cancelReceive, -ENOENT) }
        )
        #expect(recorder.all == [.closed(.closed)])
        #expect(Set(kernel.returnedBuffers) == [1, 3])
    }

    @Test("parked bytes and queued bytes are given back when the connection closes")
    func memoryAtClose() throws {
        try run(
            steps: { kernel, connection in
                connection.pauseReading()
                connection.write([5])
                kernel.receive([1], buffer: 0)
            },
            { kernel, connection in
                #expect(connection.parkedBytes == 1 && connection.loop.chunks.takenCount == 2)
                connection.close()
            },
            { kernel, _ in
                kernel.complete(.receive, -ECANCELED)
                kernel.complete(.send, -ECANCELED)
                for cancellation in [OperationKind.cancelReceive, .cancelSend] { kernel.complete(cancellation, 0) }
            },
            { _, connection in
                #expect(recorder.all == [.closed(.closed)] && connection.loop.chunks.takenCount == 0)
            }
        )
    }

    @Test("a completion for a connection that has ended is counted, and its buffer goes back")
    func stale() throws {
        try run(
            steps: { kernel, connection in
                let old = kernel.only(.receive)!.userData
                connection.close()
                kernel.complete(.receive, -ECONNRESET)
                kernel.complete(old, 4, buffer: 2, more: true)
            },
            { kernel, connection in
                #expect(connection.loop.statistics.staleCompletions == 1)
                #expect(kernel.returnedBuffers == [2])
            }
        )
        #expect(recorder.all == [.closed(.closed)])
    }

    @Test("writability is lost above the high water mark and comes back at the low one, to the byte")
    func waterMarks() throws {
        var configuration = ConnectionConfiguration()
        (configuration.highWaterMark, configuration.lowWaterMark) = (10, 4)
        try run(
            configuration,
            steps: { _, connection in
                connection.write(pattern(10))
                #expect(connection.isWritable)
                connection.write([1])
                #expect(!connection.isWritable)
            },
            { kernel, _ in kernel.complete(.send, 6) },
            { kernel, connection in
                #expect(!connection.isWritable && connection.queuedBytes == 5 && recorder.all == [])
                kernel.complete(.send, 1)
            },
            { kernel, connection in
                #expect(connection.isWritable && connection.queuedBytes == 4 && recorder.all == [.becameWritable])
                kernel.complete(.send, 4)
            },
            { kernel, _ in
                #expect(recorder.all == [.becameWritable, .flushed] && kernel.count(.send) == 0)
            }
        )
    }

    @Test(
        "a send that fails ends the connection: EPIPE and ECONNRESET as a reset, others by their name",
        arguments: [EPIPE, ECONNRESET, ETIMEDOUT])
    func sendFails(code: Int32) throws {
        try run(
            steps: { _, connection in connection.write([1]) },
            { kernel, _ in kernel.complete(.send, -code) },
            { kernel, _ in
                kernel.complete(.receive, -ECANCELED)
                kernel.complete(.cancelReceive, 0)
            }
        )
        #expect(recorder.all == [.closed(code == ETIMEDOUT ? .failed(SystemError("send", code: code)) : .reset)])
    }

    @Test("a multishot poll that ends early is armed again, unless both directions are shut", arguments: [true, false])
    func pollEnds(isHungUp: Bool) throws {
        try run(
            steps: { kernel, connection in
                connection.pauseReading()
                kernel.complete(.receive, -ECANCELED)
            },
            { kernel, _ in
                #expect(kernel.count(.poll) == 1)
                kernel.complete(.cancelReceive, -ENOENT)
                kernel.complete(.poll, Int32(0x2000) | (isHungUp ? Int32(POLLHUP) : 0))
            },
            { kernel, _ in
                #expect(kernel.count(.poll) == (isHungUp ? 0 : 1))
                #expect(recorder.all == [.inputEnding])
            }
        )
        #expect(recorder.all == [.inputEnding, .closed(.loopStopped)])
    }

    @Test("a FIN that the poll reports while reading is resumed for a moment is told at the next pause")
    func finDuringResumption() throws {
        try run(
            steps: { kernel, connection in
                connection.pauseReading()
                kernel.complete(.receive, -ECANCELED)
            },
            { kernel, connection in
                kernel.complete(.cancelReceive, -ENOENT)
                connection.resumeReading()
                kernel.complete(.poll, 0x2000, more: true)
            },
            { _, connection in
                #expect(recorder.all == [], "the receive will tell")
                connection.pauseReading()
                #expect(recorder.all == [], "not from within the call")
            },
            { _, _ in #expect(recorder.all == [.inputEnding]) }
        )
    }

    @Test("connections that wait for buffers are resumed in the order of waiting, as many as there are buffers")
    func starvedInOrder() throws {
        let kernel = ScriptedKernel(bufferCount: 2)
        var sockets: [Int32] = []
        for _ in 0..<3 {
            var pair: [Int32] = [-1, -1]
            #expect(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &pair) == 0)
            sockets += pair
        }
        defer { for index in [1, 3, 5] { close(sockets[index]) } }
        let recorder = recorder
        var receives: [UserData] = []
        func armed() -> [Int] {
            kernel.inFlight.filter { $0.userData.kind == .receive }.map { receives.firstIndex(of: $0.userData)! }
        }
        try kernel.run(
            setUp: { loop in
                for index in [0, 2, 4] { RecordingConnection(loop, fd: sockets[index], recorder).start() }
            },
            steps: { kernel in
                receives = kernel.inFlight.map(\.userData)
                for index in [2, 0, 1] { kernel.complete(receives[index], -ENOBUFS) }
            },
            { _ in #expect(armed() == [2, 0]) },
            { _ in #expect(armed() == [2, 0, 1]) }
        )
    }

    @Test("a listener paused while an old cancellation is on its way stays paused", arguments: [0, -ENOENT])
    func listener(result: Int32) throws {
        let fd = try Socket.listen(.anyLoopback, backlog: 1)
        var listener: Listener?
        try kernel.run(
            setUp: { loop in
                listener = Listener(loop, fd: fd) { _ in }
                listener?.resume()
            },
            steps: { _ in listener?.pause() },
            { kernel in
                listener?.resume()
                kernel.complete(.accept, -ECANCELED)
            },
            { kernel in
                #expect(kernel.count(.accept) == 1, "resumed")
                listener?.pause()
            },
            { kernel in kernel.complete(.cancelAccept, result) },
            { kernel in
                #expect(kernel.count(.cancelAccept) == 1, "the second accept is cancelled too")
                kernel.complete(.accept, -ECANCELED)
                kernel.complete(.cancelAccept, 0)
            },
            { kernel in #expect(kernel.inFlight.isEmpty) }
        )
    }

    @Test(
        "a connector that was cancelled and connected at the same time has one outcome, and no socket is lost",
        arguments: [0, -ECANCELED])
    func connectorRace(result: Int32) throws {
        let outcomes = Recorder<Result<Int32, ConnectError>>()
        var connector: Connector?
        try kernel.run(
            setUp: { loop in
                connector = Connector.connect(loop, to: .ipv4(0x7f00_0001, port: 1), timeout: .seconds(100)) {
                    outcomes.record($0)
                }
            },
            steps: { kernel in
                connector?.cancel()
                kernel.complete(.connect, result)
            },
            { kernel in kernel.complete(.cancelConnect, -ENOENT) }
        )
        #expect(outcomes.all == [.failure(.cancelled)])
    }
}
