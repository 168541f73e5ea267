import Glibc
import Testing

@testable import Transport
@testable import TransportTesting

/// Orders in which the kernel may complete what a detaching connection has in flight, each made up by the test.
@Suite("Detaching: order of completions")
struct DetachOrderTests {
    private let kernel = ScriptedKernel(bufferCount: 4, bufferSize: 64)
    private let recorder = Recorder<Happening>()
    private let handed = Recorder<Handed>()

    typealias Step = (ScriptedKernel, RecordingConnection) -> Void

    /// A connection on the scripted kernel, reading. Its socket is real and idle.
    private func run(_ steps: Step..., zeroCopyThreshold: Int? = nil) throws {
        var configuration = ConnectionConfiguration()
        configuration.zeroCopyThreshold = zeroCopyThreshold
        let (near, far) = zeroCopyThreshold == nil ? try unixPair() : try tcpPair()
        defer { close(far) }
        var connection: RecordingConnection?
        try kernel.run(
            setUp: { loop in
                connection = RecordingConnection(loop, fd: near, recorder, configuration)
                connection?.start()
            },
            all: steps.map { step in { kernel in step(kernel, connection!) } })
        #expect(Set(kernel.returnedBuffers).count == kernel.returnedBuffers.count, "a buffer was returned twice")
        #expect(connection?.loop.chunks.takenCount == 0, "memory was not given back")
        for handed in handed.all { close(handed.fd) }
    }

    /// Begins to detach, and checks that it says so.
    private func detach(_ connection: RecordingConnection) {
        let isDetaching = connection.detach { [handed] detached in handed.record(Handed(detached)) }
        #expect(isDetaching && handed.all.isEmpty, "never from within the call")
    }

    @Test("nothing is handed over before everything in flight has completed (netty table 4 row 20)")
    func joinsAll() throws {
        try run(
            { kernel, connection in
                connection.write(pattern(100))
            },
            { kernel, connection in
                #expect(kernel.count(.send) == 1 && kernel.count(.receive) == 1)
                detach(connection)
            },
            { kernel, _ in kernel.complete(.receive, -ECANCELED) },
            { kernel, _ in kernel.complete(.cancelReceive, 0) },
            { kernel, _ in kernel.complete(.send, -ECANCELED) },
            { kernel, _ in
                #expect(handed.all.isEmpty)
                kernel.complete(.cancelSend, 0)
            },
            { _, connection in
                #expect(handed.all.map(\.remainder) == [ConnectionRemainder(unsent: pattern(100))])
                #expect(connection.registration == nil)
            }
        )
        #expect(recorder.all.isEmpty, "closed(_:) is not called")
    }

    @Test("bytes that the cancelled receive has brought are kept, behind those parked before")
    func keepsReceived() throws {
        try run(
            { kernel, connection in
                kernel.receive([1, 2], buffer: 0)
            },
            { kernel, connection in
                connection.pauseReading()
                kernel.receive([3], buffer: 1)
            },
            { kernel, connection in
                kernel.complete(.cancelReceive, -EALREADY)
                detach(connection)
            },
            { kernel, _ in
                kernel.receive([4, 5], buffer: 2)
                kernel.receive([6], buffer: 3, more: false)
                kernel.complete(.cancelReceive, -ENOENT)
            },
            { kernel, _ in
                #expect(handed.all.map(\.remainder.unread) == [[3, 4, 5, 6]])
                #expect(kernel.returnedBuffers == [0, 1, 2, 3])
            }
        )
        #expect(recorder.all == [.received([1, 2])])
    }

    @Test("what the cancelled send has sent is not sent again; the rest follows in order", arguments: [1, 40, 100])
    func partialSend(sent: Int) throws {
        try run(
            { _, connection in connection.write(pattern(100)) },
            { kernel, connection in
                #expect(kernel.count(.send) == 1)
                connection.write(pattern(50, seed: 2))
                detach(connection)
                #expect(!connection.write([0]), "nothing more is taken")
            },
            { kernel, _ in
                kernel.complete(.send, Int32(sent))
                kernel.complete(.cancelSend, sent == 100 ? -ENOENT : 0)
                kernel.complete(.receive, -ECANCELED)
                kernel.complete(.cancelReceive, 0)
            },
            { _, connection in
                let all = pattern(100) + pattern(50, seed: 2)
                #expect(handed.all.map(\.remainder.unsent) == [Array(all[sent...])])
                #expect(connection.bytesSent == UInt64(sent))
            }
        )
    }

    @Test("bytes written in the turn of the detachment are handed over, though no send has seen them")
    func neverSubmitted() throws {
        try run(
            { kernel, connection in
                connection.onReceived = { connection, bytes in
                    connection.write(bytes)
                    detach(connection)
                }
                kernel.receive([7, 8], buffer: 0)
            },
            { kernel, _ in
                #expect(kernel.count(.send) == 0)
                kernel.complete(.receive, -ECANCELED)
                kernel.complete(.cancelReceive, 0)
            },
            { _, _ in #expect(handed.all.map(\.remainder) == [ConnectionRemainder(unsent: [7, 8])]) }
        )
    }

    @Test("a cancellation that came too early is repeated while detaching")
    func missedCancellation() throws {
        try run(
            { _, connection in detach(connection) },
            { kernel, _ in kernel.complete(.cancelReceive, -EALREADY) },
            { kernel, _ in
                #expect(kernel.count(.cancelReceive) == 1 && kernel.count(.receive) == 1)
                kernel.complete(.receive, -ECANCELED)
                kernel.complete(.cancelReceive, 0)
            },
            { _, _ in #expect(handed.all.count == 1) }
        )
    }

    @Test("a connection that breaks while detaching is closed, since a socket tells its failure only once")
    func breaks() throws {
        try run(
            { _, connection in detach(connection) },
            { kernel, _ in
                kernel.complete(.receive, -ECONNRESET)
                kernel.complete(.cancelReceive, -ENOENT)
            }
        )
        #expect(recorder.all == [.closed(.reset)] && handed.all.isEmpty)
    }

    @Test(
        "end of file met while detaching, like a want of buffers, is the next owner's to meet", arguments: [0, ENOBUFS])
    func endOfFile(code: Int32) throws {
        try run(
            { _, connection in detach(connection) },
            { kernel, _ in
                kernel.complete(.receive, -code)
                kernel.complete(.cancelReceive, -ENOENT)
            },
            { _, _ in #expect(handed.all.map(\.remainder) == [ConnectionRemainder.none]) }
        )
        #expect(recorder.all.isEmpty)
    }

    @Test("detached by the service when it is told of the end, both directions having ended, it is handed over")
    func bothEnded() throws {
        try run(
            { _, connection in
                connection.onInputEnded = { connection in detach(connection) }
                connection.finishOutput()
            },
            { kernel, _ in kernel.complete(.receive, 0) },
            { _, _ in
                #expect(handed.all.map(\.remainder) == [ConnectionRemainder(isInputEnded: true, output: .finished)])
            }
        )
        #expect(recorder.all == [.inputEnded])
    }

    @Test("close() while detaching closes instead; a second detach is refused")
    func closesInstead() throws {
        try run(
            { _, connection in
                detach(connection)
                #expect(!connection.detach { _ in Issue.record("refused") })
                connection.close()
            },
            { kernel, _ in
                #expect(recorder.all.isEmpty, "the kernel is not done")
                kernel.complete(.receive, -ECANCELED)
                kernel.complete(.cancelReceive, 0)
            }
        )
        #expect(recorder.all == [.closed(.closed)] && handed.all.isEmpty)
    }

    @Test("a connection that is detaching when the loop stops is handed over")
    func loopStops() throws {
        try run({ _, connection in detach(connection) })
        #expect(handed.all.count == 1 && recorder.all.isEmpty)
    }

    @Test("a send without copying counts with its result; the notification keeps its memory, not the connection")
    func zeroCopy() throws {
        try run(
            { _, connection in connection.write(pattern(2000)) },
            { kernel, connection in
                #expect(kernel.count(.zeroCopySend0) == 1)
                detach(connection)
            },
            { kernel, _ in
                kernel.complete(.zeroCopySend0, 500, more: true)
                kernel.complete(.cancelZeroCopySend0, -ENOENT)
                kernel.complete(.receive, -ECANCELED)
                kernel.complete(.cancelReceive, 0)
            },
            { kernel, connection in
                #expect(handed.all.map(\.remainder.unsent) == [Array(pattern(2000)[500...])])
                #expect(connection.loop.channelCount == 1 && connection.loop.chunks.takenCount == 1)
                kernel.complete(.zeroCopySend0, 0, notification: true)
            },
            { _, connection in #expect(connection.loop.channelCount == 0) },
            zeroCopyThreshold: 1000
        )
        #expect(recorder.all.isEmpty)
    }

    @Test(
        "a send without copying that the kernel cannot make leaves its bytes to the next owner",
        arguments: [EINVAL, ENOBUFS])
    func zeroCopyRefused(code: Int32) throws {
        try run(
            { _, connection in connection.write(pattern(2000)) },
            { _, connection in detach(connection) },
            { kernel, _ in
                kernel.complete(.zeroCopySend0, -code)
                kernel.complete(.cancelZeroCopySend0, -ENOENT)
                kernel.complete(.receive, -ECANCELED)
                kernel.complete(.cancelReceive, 0)
            },
            { _, _ in #expect(handed.all.map(\.remainder.unsent) == [pattern(2000)]) },
            zeroCopyThreshold: 1000
        )
        #expect(recorder.all.isEmpty)
    }

    @Test("uncopied memory is taken along in order, as far as it is not sent, and let go of once")
    func uncopied() throws {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 100, alignment: 1)
        defer { memory.deallocate() }
        memory.copyBytes(from: pattern(100))
        let releases = Recorder<Int>()
        try run(
            { _, connection in
                connection.write([1, 2])
                connection.write(uncopied: UnsafeRawBufferPointer(memory)) { releases.record(1) }
                connection.write([3])
            },
            { kernel, _ in kernel.complete(.send, 2) },
            { kernel, connection in
                #expect(kernel.count(.send) == 1)
                detach(connection)
            },
            { kernel, _ in
                #expect(releases.all.isEmpty)
                kernel.complete(.send, 30)
                kernel.complete(.cancelSend, 0)
                kernel.complete(.receive, -ECANCELED)
                kernel.complete(.cancelReceive, 0)
            },
            { _, _ in
                #expect(handed.all.map(\.remainder.unsent) == [Array(pattern(100)[30...]) + [3]])
                #expect(releases.all == [1])
            }
        )
    }

    @Test("with a file region or descriptors queued nothing is detached; once they are sent, it is")
    func refused() throws {
        let file = try TestFile(pattern(10))
        let region = try file.region(0, 10)
        try run(
            { _, connection in
                #expect(connection.write(file: region))
                #expect(!connection.detach { _ in Issue.record("a file is queued") })
            },
            { _, connection in
                [1].withUnsafeBytes { bytes in
                    #expect(connection.write(bytes, descriptors: [file.descriptor]))
                }
                #expect(!connection.detach { _ in Issue.record("descriptors are queued") })
            },
            { _, connection in
                detach(connection)
            },
            { kernel, _ in
                kernel.complete(.receive, -ECANCELED)
                kernel.complete(.cancelReceive, 0)
            },
            { _, _ in #expect(handed.all.map(\.remainder) == [ConnectionRemainder.none]) }
        )
    }

    private func unixPair() throws -> (Int32, Int32) {
        let (near, peer) = try streamPair()
        return (near, dup(peer.fd))
    }
}
