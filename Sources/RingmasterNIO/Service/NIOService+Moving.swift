import Glibc
import NIOCore
import Transport

/// Connections that go on in another worker: their sockets move, with what was received and not read; the pipeline there
/// is a new one.
extension NIOService {
    /// Connections looked at in one call at most; the next call goes on with others.
    private static var looksMax: Int { 1024 }

    /// Those that the service's maker says can move.
    public func freeze(_ max: Int) -> Int {
        guard let canMove else { return 0 }
        var begun = 0
        // What is left of the last round, and one round: what cannot move now cannot a moment later.
        for _ in 0..<min(Self.looksMax, 2 * channels.count) where begun < max {
            guard let channel = nextCandidate() else { break }
            if !channel.isRefused, channel.canMove, canMove(channel) {
                begin(channel)
                begun += 1
            }
        }
        return begun
    }

    /// Every connection may move again.
    public func retryRefused() {
        for channel in channels.values { channel.isRefused = false }
    }

    private func begin(_ channel: RingStreamChannel) {
        guard let origin = channel.origin else { preconditionFailure("what a worker has was accepted somewhere") }
        freezing += 1
        let id = ObjectIdentifier(channel)
        // Told of as moved or as ended below, and not when the channel is closed.
        channels[id] = nil
        channel.move { [self] left in
            freezing -= 1
            guard let left else { return host?.connectionEnded() ?? () }
            host?.frozen(origin.frozen([left.fd], state: ChannelState(unread: left.unread).encoded))
        }
    }

    /// Goes on with what was received and not read, then with what comes.
    public func thaw(_ frozen: consuming FrozenConnection) -> Bool {
        guard frozen.sockets.count == 1, let state = ChannelState(decoding: frozen.state), let listener else {
            return false
        }
        let (origin, isRefused) = (ConnectionOrigin(frozen), frozen.isRefused)
        let fd = frozen.takeSockets()[0]
        listener.deliver(.init(fd: fd, isShared: true, unread: state.unread, origin: origin, isRefused: isRefused))
        return true
    }
}

/// What goes along with the socket of a channel that moves.
struct ChannelState {
    /// What was received and not read.
    var unread: ByteBuffer

    /// The first byte of the encoding; a form that is not understood is refused.
    private static let version: UInt8 = 1

    init(unread: ByteBuffer) { self.unread = unread }

    /// Nil when it is of another version.
    init?(decoding bytes: [UInt8]) {
        guard bytes.first == Self.version else { return nil }
        unread = ByteBuffer(bytes: bytes.dropFirst())
    }

    var encoded: [UInt8] { [Self.version] + Array(unread.readableBytesView) }
}
