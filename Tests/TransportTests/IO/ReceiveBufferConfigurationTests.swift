import Glibc
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Receive buffers: configuration")
struct ReceiveBufferConfigurationTests {
    typealias Change = @Sendable (inout ReceiveBufferConfiguration) -> Void

    static let refused: [(String, Change)] = [
        ("count", { $0.count = 0 }), ("count", { $0.count = 32_769 }),
        ("countMax", { $0.countMax = 255 }), ("countMax", { $0.countMax = 32_769 }),
        ("size", { $0.size = 0 }), ("size", { $0.size = 16 * 1024 * 1024 + 1 }),
        ("sizeMin", { $0.sizeMin = 0 }), ("sizeMin", { $0.sizeMin = 3 }), ("sizeMin", { $0.sizeMin = 32 * 1024 }),
        (
            "sizeMin",
            {
                $0.sizeMin = 512
                $0.size = 1000
            }
        ),
        (
            "sizeMin with isIncremental",
            {
                $0.sizeMin = 512
                $0.isIncremental = true
            }
        ),
    ]

    @Test(
        "a value out of range is refused by a loop's creation, by its name", arguments: 0..<refused.count,
        TransportKind.allCases)
    func refusal(index: Int, transport: TransportKind) {
        let (name, change) = Self.refused[index]
        var configuration = EventLoopConfiguration()
        configuration.transport = transport
        change(&configuration.receiveBuffers)
        #expect(throws: SystemError("receive buffers: \(name)", code: EINVAL)) { try EventLoop(configuration) }
    }

    @Test("the edges of the ranges are allowed")
    func edges() throws {
        var configuration = ReceiveBufferConfiguration()
        try configuration.validate()
        (configuration.count, configuration.countMax, configuration.size) = (1, 32_768, 1)
        try configuration.validate()
        (configuration.count, configuration.countMax, configuration.size) = (32_768, 32_768, 16 * 1024 * 1024)
        try configuration.validate()
        (configuration.sizeMin, configuration.size) = (4096, 4096)
        try configuration.validate()
    }

    @Test(
        "buffers need not be a power of two in number", arguments: [1, 3, 100, 257] as [UInt32],
        TransportMode.available.filter { $0 != .incremental })
    func anyCount(count: UInt32, mode: TransportMode) throws {
        var configuration = mode.configuration
        configuration.receiveBuffers.count = count
        configuration.receiveBuffers.size = 64
        let server = try TestServer(.anyLoopback, configuration, setUp: RecordingConnection.echo)
        let peer = try Peer(connectingTo: server.address)
        for round in 0..<400 {
            let message = pattern(64, seed: UInt64(round))
            try peer.send(message)
            #expect(try peer.receive(exactly: 64) == message)
        }
        #expect(try server.thread.on { $0.statistics.receiveBufferCount } == UInt64(count))
        try server.join()
    }
}
