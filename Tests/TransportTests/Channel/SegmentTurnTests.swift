import Glibc
import Testing

@testable import Transport
@testable import TransportTesting

/// What plain calls send, in which turn, and when it is told. Sockets are real, and have room for all of it.
@Suite("Write queue: segments and turns")
struct SegmentTurnTests {
    private let kernel = ScriptedKernel()
    private let recorder = Recorder<Happening>()
    private let progress = Recorder<UInt64>()

    typealias Step = (ScriptedKernel, RecordingConnection) -> Void

    /// A connection that has been given as many regions of ten bytes in its first turn.
    private func run(regions: Int, _ steps: [Step]) throws {
        let (near, far) = try tcpPair()
        defer { close(far) }
        let file = try TestFile(pattern(10))
        let region = try file.region(0, 10)
        var connection: RecordingConnection?
        try kernel.run(
            setUp: { loop in
                connection = RecordingConnection(loop, fd: near, recorder)
                connection?.onProgressed = { [progress] in progress.record($0.bytesSent) }
                connection?.start()
                for _ in 0..<regions { connection?.write(file: region) }
            },
            all: steps.map { step in { kernel in step(kernel, connection!) } })
    }

    @Test("what is sent is told in the next turn, for which the kernel is not asked")
    func toldInNextTurn() throws {
        try run(
            regions: 1,
            [
                { kernel, connection in
                    #expect(connection.bytesSent == 10 && kernel.count(.pollWrite) == 0)
                    #expect(progress.all.isEmpty && recorder.all.isEmpty)
                },
                { kernel, _ in
                    #expect(kernel.count(.pollWrite) == 0 && progress.all == [10] && recorder.all == [.flushed])
                },
            ])
    }

    /// Each counts 4 KiB towards the bound of 1 MiB.
    @Test("no more than 256 segments are sent in a turn, though the socket has room for more")
    func boundedPerTurn() throws {
        try run(
            regions: 600,
            [
                { kernel, connection in
                    #expect(connection.bytesSent == 2560 && kernel.count(.pollWrite) == 0 && progress.all.isEmpty)
                },
                { kernel, connection in
                    #expect(connection.bytesSent == 5120 && kernel.count(.pollWrite) == 0 && progress.all == [2560])
                },
                { _, connection in #expect(connection.bytesSent == 6000 && progress.all == [2560, 5120]) },
                { _, _ in #expect(progress.all == [2560, 5120, 6000] && recorder.all == [.flushed]) },
            ])
    }

    @Test("what is written meanwhile follows in the next turn, after the progress before it was told")
    func writtenMeanwhile() throws {
        try run(
            regions: 1,
            [
                { kernel, connection in
                    connection.write(pattern(5))
                    #expect(kernel.count(.send) == 0)
                },
                { kernel, _ in
                    #expect(progress.all == [10] && recorder.all.isEmpty && kernel.count(.send) == 1)
                    kernel.complete(.send, 5)
                },
                { _, _ in #expect(progress.all == [10, 15] && recorder.all == [.flushed]) },
            ])
    }

    @Test("a connection that closes or detaches before its next turn is told nothing in it", arguments: [true, false])
    func endsBefore(isDetaching: Bool) throws {
        let handed = Recorder<Handed>()
        try run(
            regions: 1,
            [
                { _, connection in
                    if isDetaching {
                        let began = connection.detach { detached in handed.record(Handed(detached)) }
                        #expect(began)
                    } else {
                        connection.close()
                    }
                },
                { kernel, _ in
                    kernel.complete(.receive, -ECANCELED)
                    kernel.complete(.cancelReceive, 0)
                },
                { _, connection in #expect(progress.all.isEmpty && connection.bytesSent == 10) },
            ])
        #expect(handed.all.map(\.remainder) == (isDetaching ? [ConnectionRemainder()] : []))
        #expect(recorder.all == (isDetaching ? [] : [.closed(.closed)]))
        for handed in handed.all { close(handed.fd) }
    }
}
