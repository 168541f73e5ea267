import Transport

/// One of the two connections of a proxied pair. What happens to it is its session's business; the bytes go straight
/// from leg to leg.
final class ProxyLeg: Connection {
    private unowned let session: ProxySession
    /// Counts a client's bytes; nil for an upstream.
    private let traffic: Traffic?
    private var counted = Traffic.Counted()
    /// The other leg, once the two are joined. The session keeps both alive until both are closed.
    private(set) unowned(unsafe) var other: ProxyLeg?
    /// When bytes last came or went. Read when the idle timer fires, so that a byte costs no more than this store.
    private(set) var lastActivity: MonotonicTime
    /// Splices in a row that a copy would have been cheaper than.
    private var littleSplices = 0

    /// Bytes from which on splicing is cheaper than copying.
    private static let streamMin = 16 * 1024
    /// After that many little splices in a row, bytes are copied again.
    private static let littleSplicesMax = 4

    init(
        _ loop: EventLoop, _ detached: consuming DetachedConnection, session: ProxySession, traffic: Traffic?,
        isShared: Bool, sharedCopy: SharedCopy? = nil
    ) {
        self.session = session
        self.traffic = traffic
        lastActivity = loop.turnTime
        var configuration = ConnectionConfiguration()
        configuration.isShared = isShared
        configuration.sharedCopy = sharedCopy
        super.init(loop, detached, configuration: configuration)
    }

    /// From now on bytes pass to `other`. Bytes last passed at `lastActivity`.
    func join(_ other: ProxyLeg, lastActivity: MonotonicTime) {
        self.other = other
        self.lastActivity = lastActivity
    }

    private func noteActivity() {
        lastActivity = loop.turnTime
        countTraffic()
    }

    /// Adds to the service's statistics what has not been added yet.
    func countTraffic() {
        if let traffic { counted = traffic.count(self, since: counted) }
    }

    override func received(_ bytes: RawSpan) {
        noteActivity()
        guard let other else { return session.receivedBeforeJoin(bytes) }
        other.write(bytes)
        // Back-pressure: while the other side does not drain, this one is not read, and its peer's sends stall.
        guard !other.isWritable else { return }
        pauseReading()
        // More comes than goes at once: a stream, which is cheaper not copied.
        splice(to: other)
    }

    override func spliced(_ count: Int) {
        noteActivity()
        littleSplices = count < Self.streamMin ? littleSplices + 1 : 0
        if littleSplices == Self.littleSplicesMax {
            littleSplices = 0
            endSplicing()
        }
    }

    override func becameWritable() {
        other?.resumeReading()
    }

    /// Also of a part: a pipe may take a slow peer longer than the idle timeout.
    override func progressed() {
        noteActivity()
    }

    /// FIN from one side becomes FIN to the other; what is queued before it is sent first.
    override func inputEnded() {
        noteActivity()
        if let other { other.finishOutput() } else { session.inputEndedBeforeJoin() }
    }

    override func closed(_ reason: CloseReason) {
        countTraffic()
        session.closed(self, reason)
    }
}
