import Foundation
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Write queue: segments and turns")
struct SegmentTurnTests {
    @Test("in one turn no more than 256 KiB of a file are sent, though the socket had room for more")
    func boundedPerTurn() throws {
        let kernel = ScriptedKernel()
        let (left, right) = try tcpPair()
        defer { close(right) }
        // Room for all of it, on both sides: 4 MiB is what net.ipv4.tcp_wmem and tcp_rmem allow without asking.
        let file = try TestFile([UInt8](repeating: 1, count: 512 * 1024))
        let recorder = Recorder<Happening>()
        var connection: RecordingConnection?
        var left256 = 0
        try kernel.run(
            setUp: { loop in
                connection = RecordingConnection(loop, fd: left, recorder)
                connection?.start()
                #expect(throws: Never.self) { connection?.write(file: try file.region(0, 512 * 1024)) }
            },
            steps: { kernel in
                left256 = connection!.queuedFileBytes
                #expect(left256 >= 256 * 1024 && kernel.count(.pollWrite) == 1 && recorder.all == [])
                kernel.complete(.pollWrite, Int32(POLLOUT))
            },
            { _ in #expect(connection!.queuedFileBytes < left256) }
        )
    }
}
