import Transport

/// One of the two connections of a proxied pair. What happens to it is its session's business; the bytes go straight
/// from leg to leg.
final class ProxyLeg: Connection {
    private unowned let session: ProxySession
    /// The other leg, once the two are joined. The session keeps both alive until both are closed.
    private(set) unowned(unsafe) var other: ProxyLeg?

    init(_ loop: EventLoop, fd: Int32, session: ProxySession, configuration: ConnectionConfiguration) {
        self.session = session
        super.init(loop, fd: fd, configuration: configuration)
    }

    /// From now on bytes pass to `other`.
    func join(_ other: ProxyLeg) {
        self.other = other
    }

    override func received(_ bytes: RawSpan) {
        session.lastActivity = loop.turnTime
        guard let other else { return session.receivedBeforeJoin(bytes) }
        other.write(bytes)
        // Back-pressure: while the other side does not drain, this one is not read, and its peer's sends stall.
        if !other.isWritable { pauseReading() }
    }

    override func becameWritable() {
        session.lastActivity = loop.turnTime
        other?.resumeReading()
    }

    override func inputEnded() {
        session.lastActivity = loop.turnTime
        session.inputEnded(self)
    }

    override func closed(_ reason: CloseReason) {
        session.closed(self, reason)
    }
}
