import Glibc
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Event loop: what becomes of receive buffers, completion by completion")
struct ReceiveBufferOrderTests {
    /// Connections of a scripted kernel, each on a socket that is real and idle.
    private func connections(_ count: Int, on loop: EventLoop, _ peers: inout [Int32]) -> [RecordingConnection] {
        (0..<count).map { _ in
            var pair: [Int32] = [-1, -1]
            #expect(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &pair) == 0)
            peers.append(pair[1])
            let connection = RecordingConnection(loop, fd: pair[0], Recorder())
            connection.start()
            return connection
        }
    }

    @Test("all buffers used up in a turn go back in one call, after the writes")
    func batch() throws {
        let kernel = ScriptedKernel()
        var peers: [Int32] = []
        defer { for peer in peers { close(peer) } }
        try kernel.run(
            setUp: { _ = connections(1, on: $0, &peers) },
            steps: { kernel in for buffer: UInt16 in [2, 0, 3] { kernel.receive([1], buffer: buffer) } },
            { kernel in #expect(kernel.given.map(\.buffers) == [[0, 1, 2, 3], [2, 0, 3]]) })
    }

    @Test("a receive without a buffer makes the buffers twice as many, up to the bound, and is resumed")
    func growth() throws {
        let kernel = ScriptedKernel(bufferCount: 7)
        kernel.configuration.receiveBuffers.count = 2
        var peers: [Int32] = []
        defer { for peer in peers { close(peer) } }
        var loop: EventLoop?
        let starve: ScriptedKernel.Step = { $0.complete(.receive, -ENOBUFS) }
        try kernel.run(
            setUp: {
                loop = $0
                _ = connections(1, on: $0, &peers)
            },
            steps: starve, starve, starve, { $0.receive([1], buffer: 6) },
            { kernel in
                #expect(kernel.given.map(\.buffers) == [[0, 1], [2, 3], [4, 5, 6], [6]])
                #expect(kernel.count(.receive) == 1)
                let statistics = loop!.statistics
                #expect(statistics.receiveBuffersExhausted == 3)
                #expect(statistics.receiveBufferCount == 7 && statistics.receiveBufferCountMax == 7)
            })
    }

    @Test("connections that share an incremental buffer each get their own bytes; stale ones are passed over")
    func shared() throws {
        let kernel = ScriptedKernel(bufferCount: 2, bufferSize: 16)
        var peers: [Int32] = []
        defer { for peer in peers { close(peer) } }
        var both: [RecordingConnection] = []
        try kernel.run(
            setUp: { both = connections(2, on: $0, &peers) },
            steps: { kernel in
                let receives = kernel.inFlight.filter { $0.userData.kind == .receive }.map(\.userData)
                kernel.receive([1, 2], for: receives[0], buffer: 0, at: 0, bufferMore: true)
                kernel.receive([3], for: receives[1], buffer: 0, at: 2, bufferMore: true)
                let nobody = UserData(.receive, RegistrationID(slot: 1, generation: 99))
                kernel.receive([9, 9, 9], for: nobody, buffer: 0, at: 3, bufferMore: true)
                kernel.receive([4, 5], for: receives[0], buffer: 0, at: 6, bufferMore: true)
            },
            { kernel in
                #expect(kernel.returnedBuffers.isEmpty)
                let receives = kernel.inFlight.filter { $0.userData.kind == .receive }.map(\.userData)
                kernel.receive([6, 7, 8, 9, 10, 11, 12, 13], for: receives[1], buffer: 0, at: 8, bufferMore: false)
                kernel.receive([14], for: receives[1], buffer: 1, at: 0, bufferMore: true)
            },
            { kernel in #expect(kernel.returnedBuffers == [0]) })
        #expect(both[0].recorder.bytes == [1, 2, 4, 5])
        #expect(both[1].recorder.bytes == [3, 6, 7, 8, 9, 10, 11, 12, 13, 14])
    }
}
