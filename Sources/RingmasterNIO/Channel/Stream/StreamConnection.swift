import NIOCore

/// The connection under a stream channel: tells it everything.
final class StreamConnection: CoreConnection {
    private let channel: RingStreamChannel

    private static func configuration(isShared: Bool) -> CoreConnectionConfiguration {
        var configuration = CoreConnectionConfiguration()
        configuration.isShared = isShared
        // SwiftNIO has no bound but its water marks; the channel hands over only what those of the connection allow.
        configuration.queuedBytesMax = .max
        configuration.queuedSegmentsMax = .max
        return configuration
    }

    init(_ channel: RingStreamChannel, fd: Int32, isShared: Bool) {
        self.channel = channel
        super.init(channel.loop.core, fd: fd, configuration: Self.configuration(isShared: isShared))
    }

    override func received(_ bytes: RawSpan) { channel.received(bytes) }
    override func inputEnded() { channel.inputEnded() }
    override func inputEnding() { channel.inputEnding() }
    override func progressed() { channel.progressed() }
    override func becameWritable() { channel.handOverFlushed() }
    override func outputFinished() { channel.outputFinished() }
    override func closed(_ reason: CoreCloseReason) { channel.connectionClosed(reason) }
}
