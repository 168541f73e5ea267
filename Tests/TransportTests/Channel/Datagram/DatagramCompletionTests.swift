import Glibc
import Testing

@testable import Transport
@testable import TransportTesting

/// Completions that a real kernel produces rarely, or not at the wanted moment.
@Suite("Datagrams: orders of completions")
struct DatagramCompletionTests {
    private let recorder = Recorder<DatagramHappening>()

    /// Runs a started channel on a scripted kernel; each step is a turn.
    private func run(_ steps: (ScriptedKernel, RecordingDatagram) -> Void...) throws {
        let kernel = ScriptedKernel(bufferCount: 4, bufferSize: 128)
        let fd = try Socket.datagram(boundTo: .anyLoopback)
        var datagram: RecordingDatagram?
        try kernel.run(
            setUp: { loop in
                datagram = RecordingDatagram(loop, fd: fd, recorder)
                datagram?.start()
            },
            all: steps.map { step in { kernel in if let datagram { step(kernel, datagram) } } })
        #expect(kernel.returnedBuffers.count == Set(kernel.returnedBuffers).count, "a buffer came back twice")
    }

    /// A receive buffer with a datagram of an unnamed sender: head, room for a name, payload.
    private func message(_ payload: [UInt8]) -> [UInt8] {
        var bytes: [UInt8] = []
        for number in [0, 0, payload.count, 0] { withUnsafeBytes(of: UInt32(number)) { bytes += $0 } }
        return bytes + [UInt8](repeating: 0, count: 32) + payload
    }

    @Test("an error of one datagram is told and receiving goes on", arguments: [ECONNREFUSED, EHOSTUNREACH, EMSGSIZE])
    func transient(code: Int32) throws {
        try run(
            { kernel, _ in kernel.complete(.receive, -code) },
            { kernel, _ in
                #expect(recorder.all == [.failed(SystemError("recvmsg", code: code))])
                #expect(kernel.count(.receive) == 1, "armed again")
                kernel.receive(message([1]), buffer: 0)
            })
        #expect(recorder.datagrams == [[1]])
    }

    @Test("an error while reading is paused does not resume it")
    func transientWhilePaused() throws {
        try run(
            { kernel, datagram in
                datagram.pauseReading()
                kernel.complete(.receive, -ECONNREFUSED)
            },
            { kernel, datagram in
                kernel.complete(.cancelReceive, -ENOENT)
                datagram.resumeReading()
            },
            { kernel, _ in #expect(kernel.count(.receive) == 1) })
        #expect(recorder.all.compactMap(\.error?.code) == [ECONNREFUSED])
    }

    @Test("a channel closed by the callback of an error submits nothing more")
    func closedInFailed() throws {
        try run(
            { kernel, datagram in
                datagram.onFailed = { datagram, _ in datagram.close() }
                kernel.complete(.receive, -ECONNREFUSED)
            },
            { kernel, _ in #expect(kernel.inFlight.isEmpty) })
        #expect(recorder.all.last == .closed(.closed))
    }

    @Test("an error of the socket itself ends the channel, once", arguments: [EBADF, ENOTSOCK, EINVAL, EFAULT])
    func lasting(code: Int32) throws {
        try run({ kernel, _ in kernel.complete(.receive, -code) })
        #expect(recorder.all == [.closed(.failed(SystemError("recvmsg", code: code)))])
    }

    @Test("memory that is short is told, and receiving goes on after a rest, if it is wanted then")
    func memoryShort() throws {
        func shortage() { usleep(60_000) }
        try run(
            { kernel, _ in kernel.complete(.receive, -ENOMEM) },
            { kernel, _ in
                #expect(recorder.all == [.failed(SystemError("recvmsg", code: ENOMEM))])
                #expect(kernel.count(.receive) == 0, "not at once")
                shortage()
            },
            { kernel, datagram in
                #expect(kernel.count(.receive) == 1, "armed again")
                kernel.complete(.receive, -ENOMEM)
            },
            { _, datagram in
                datagram.pauseReading()
                shortage()
            },
            { kernel, datagram in
                #expect(kernel.count(.receive) == 0)
                datagram.resumeReading()
            },
            { kernel, _ in kernel.receive(message([1]), buffer: 0) },
            { kernel, _ in kernel.complete(.receive, -ENOMEM) },
            { _, datagram in datagram.close() },
            { kernel, _ in
                #expect(kernel.inFlight.isEmpty && recorder.all.last == .closed(.closed))
                shortage()
            })
        #expect(recorder.datagrams == [[1]])
    }

    @Test("a receive that ends without a datagram ends the channel: the socket was shut down")
    func endOfInput() throws {
        try run({ kernel, _ in kernel.complete(.receive, 0) })
        #expect(recorder.all == [.closed(.failed(SystemError("recvmsg", code: ESHUTDOWN)))])
    }

    @Test("datagrams that arrive after the pause are parked, and told before newer ones")
    func parked() throws {
        try run(
            { kernel, datagram in
                datagram.pauseReading()
                kernel.receive(message([1, 2]), buffer: 0)
                kernel.receive(message([]), buffer: 1)
            },
            { kernel, datagram in
                #expect(recorder.all.isEmpty && kernel.returnedBuffers == [0, 1])
                kernel.complete(.cancelReceive, 0)
                kernel.complete(.receive, -ECANCELED)
                datagram.resumeReading()
            },
            { kernel, _ in
                #expect(recorder.datagrams == [[1, 2], []])
                kernel.receive(message([3]), buffer: 2)
            })
        #expect(recorder.datagrams == [[1, 2], [], [3]])
    }

    @Test("without buffers it gets in line, and goes on when some are back")
    func exhausted() throws {
        try run(
            { kernel, _ in kernel.complete(.receive, -ENOBUFS) },
            { kernel, datagram in
                #expect(datagram.loop.statistics.receiveBuffersExhausted == 1)
                #expect(kernel.count(.receive) == 1, "all buffers are free, so it may go on at once")
                kernel.receive(message([1]), buffer: 0)
            })
        #expect(recorder.all.compactMap(\.error).isEmpty && recorder.datagrams == [[1]])
    }

    @Test("a datagram that arrives while closing is not told, and its buffer goes back")
    func whileClosing() throws {
        try run(
            { kernel, datagram in
                datagram.close()
                kernel.receive(message([1]), buffer: 3, more: false)
            },
            { kernel, _ in
                #expect(kernel.returnedBuffers == [3])
                kernel.complete(.cancelReceive, -ENOENT)
            })
        #expect(recorder.all == [.closed(.closed)])
    }
}
