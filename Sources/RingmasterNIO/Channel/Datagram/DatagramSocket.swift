import NIOCore
import Transport

/// The datagram socket under a datagram channel: tells it everything.
final class DatagramSocket: CoreDatagram {
    private let channel: RingDatagramChannel

    private static var configuration: DatagramConfiguration {
        var configuration = DatagramConfiguration()
        // SwiftNIO has no bound but its water marks.
        configuration.queuedBytesMax = .max
        // What is to be told may be asked for at any time.
        configuration.receivesControl = true
        // As SwiftNIO's own channels.
        configuration.removesPath = false
        return configuration
    }

    init(_ channel: RingDatagramChannel, fd: Int32) {
        self.channel = channel
        super.init(channel.loop.core, fd: fd, configuration: Self.configuration)
    }

    override func received(_ bytes: RawSpan, _ header: DatagramHeader) { channel.received(bytes, header) }
    override func failed(_ error: SystemError) { channel.socketFailed(error) }
    override func settled(_ count: Int, _ outcome: DatagramOutcome) { channel.settled(count, outcome) }
    override func closed(_ reason: CloseReason) { channel.socketClosed(reason) }
}
