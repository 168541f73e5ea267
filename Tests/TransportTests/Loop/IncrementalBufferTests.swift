import Glibc
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Event loop: incremental receive buffers")
struct IncrementalBufferTests {
    /// Notes where in the loop's memory its bytes were put.
    private final class PlacedConnection: Connection {
        let places: Recorder<Int>

        init(_ loop: EventLoop, fd: Int32, _ places: Recorder<Int>) {
            self.places = places
            super.init(loop, fd: fd)
        }

        override func received(_ bytes: RawSpan) {
            let base = UnsafeRawPointer(loop.handler.receiveBuffers.base)
            bytes.withUnsafeBytes { places.record($0.baseAddress! - base) }
            write(bytes)
        }
    }

    @Test(
        "incremental buffers are filled by message after message, one buffer after the other",
        .enabled(if: TransportMode.incremental.obstacle == nil, "\(TransportMode.incremental.obstacle ?? "")"))
    func places() throws {
        var configuration = TransportMode.incremental.configuration
        configuration.receiveBuffers.count = 3
        configuration.receiveBuffers.size = 64
        let loop = try LoopThread(configuration)
        let pair = try SocketPair()
        let places = Recorder<Int>()
        let fd = dup(pair.left)
        try loop.on { PlacedConnection($0, fd: fd, places).start() }
        let peer = Peer(fd: dup(pair.right))
        for _ in 0..<12 {
            try peer.send(pattern(16))
            #expect(try peer.receive(exactly: 16) == pattern(16))
        }
        let first = places.all[0]
        #expect(places.all == (0..<12).map { first + 16 * $0 })
        try loop.join()
    }
}
