import Glibc
import Testing

@testable import Transport
@testable import TransportTesting

/// Splicing that begins while the receive before it is still with the kernel: each order made up by the test.
@Suite("Splicing: order of completions")
struct SpliceOrderTests {
    private let kernel = ScriptedKernel()

    typealias Step = (ScriptedKernel, RecordingConnection) -> Void

    /// A connection that reads. Told its first bytes, it splices to another from then on.
    private func run(_ steps: [Step]) throws {
        let (near, far) = try tcpPair()
        let (otherNear, otherFar) = try tcpPair()
        defer {
            close(far)
            close(otherFar)
        }
        var connection: RecordingConnection?
        try kernel.run(
            setUp: { loop in
                let target = RecordingConnection(loop, fd: otherNear, Recorder<Happening>())
                let source = RecordingConnection(loop, fd: near, Recorder<Happening>())
                source.onSpan = { source, _ in
                    source.pauseReading()
                    #expect(source.splice(to: target))
                }
                target.start(reading: false)
                source.start()
                connection = source
            },
            all: steps.map { step in { kernel in step(kernel, connection!) } })
    }

    @Test(
        "a receive that ends for want of a buffer goes on by a poll, the pipe being empty", arguments: [0, -EALREADY])
    func starved(cancellation: Int32) throws {
        try run([
            { kernel, _ in kernel.receive([1, 2, 3], buffer: 0) },
            { kernel, source in
                #expect(kernel.count(.receive) == 1 && kernel.count(.cancelReceive) == 1)
                source.resumeReading()
                kernel.complete(.receive, -ENOBUFS)
                kernel.complete(.cancelReceive, cancellation)
            },
            { _, _ in },
            { kernel, source in
                #expect(kernel.count(.receive) == 0 && kernel.count(.pollRead) == 1, "waits for what comes next")
                #expect(source.isSplicing)
            },
        ])
    }

    @Test("a receive that could not be cancelled goes on telling bytes")
    func missed() throws {
        try run([
            { kernel, _ in kernel.receive([1, 2, 3], buffer: 0) },
            { kernel, source in
                source.resumeReading()
                kernel.complete(.cancelReceive, -EALREADY)
            },
            { kernel, source in
                #expect(kernel.count(.receive) == 1 && kernel.count(.cancelReceive) == 0)
                source.onSpan = nil
                kernel.receive([4], buffer: 1)
            },
            { kernel, source in
                #expect(source.recorder.bytes == [4])
                kernel.complete(.receive, -ENOBUFS)
            },
            { _, _ in },
            { kernel, _ in #expect(kernel.count(.receive) == 0 && kernel.count(.pollRead) == 1) },
        ])
    }
}
