import Glibc
import Logging
import Transport

/// One client and its upstream: reads the PROXY header if there is one, connects, joins the two, ends both. Joined, the two
/// can be frozen, and thawed elsewhere.
final class ProxySession {
    private enum Phase {
        /// Reads the client's PROXY protocol header.
        case header(ProxyHeaderDecoder)
        /// Connects to an upstream; the client is not read.
        case connecting
        /// Bytes pass.
        case joined
        /// The two let go of their sockets, to go on in another process.
        case freezing
        /// Waits for what is left to close.
        case ending
    }

    /// A connection that the pool counts.
    private struct Claim {
        /// Nil when it was made elsewhere, to none of this pool's.
        let upstream: Int?
        let address: SocketAddress
    }

    private unowned let service: ProxyService
    private let loop: EventLoop
    private let origin: ConnectionOrigin
    private var phase: Phase
    /// Both legs live as long as the session: each refers to the other without keeping it alive.
    private(set) var client: ProxyLeg!
    private(set) var upstream: ProxyLeg?
    private var clientIsClosed = false
    /// It was to leave, and nobody would have it: the next pass is for others.
    var isRefused = false
    /// The upstream that is being connected, or is: what the pool counts and what must end before the session does.
    private var claim: Claim?
    private var connector: Connector?
    private var tried: [UpstreamPool.Choice] = []
    private var clientHeader: ProxyHeader?
    /// Payload that came in the same piece as the end of the client's header: one receive buffer at most.
    private var early: [UInt8] = []
    private var timer: LoopTimer?
    /// What has let go of its socket while the other has not yet.
    private var clientPart: DetachedConnection?
    private var upstreamPart: DetachedConnection?
    /// Until when connecting is tried again for want of descriptors or memory; nil while nothing was missing.
    private var shortageDeadline: MonotonicTime?

    /// How soon it is tried again.
    private static let shortageRest: Duration = .milliseconds(50)

    init(_ service: ProxyService, _ loop: EventLoop, _ incoming: IncomingConnection) {
        self.service = service
        self.loop = loop
        origin = ConnectionOrigin(incoming)
        phase = service.configuration.acceptsProxyHeader ? .header(ProxyHeaderDecoder()) : .connecting
        client = ProxyLeg(
            loop, DetachedConnection(incoming), session: self, traffic: service.traffic, isShared: incoming.isShared,
            sharedCopy: incoming.sharedCopy)
    }

    /// A pair that was frozen: the client's socket and its upstream's. ``goOn(lastActivity:)`` starts it.
    init(
        _ service: ProxyService, _ loop: EventLoop, _ origin: ConnectionOrigin, _ pair: FrozenPair, sockets: [Int32]
    ) {
        precondition(sockets.count == 2)
        self.service = service
        self.loop = loop
        self.origin = origin
        phase = .joined
        // The former process, and who carried them, may still hold copies of both.
        client = ProxyLeg(
            loop, DetachedConnection(fd: sockets[0], remainder: pair.client), session: self,
            traffic: service.traffic, isShared: true)
        upstream = ProxyLeg(
            loop, DetachedConnection(fd: sockets[1], remainder: pair.upstream), session: self, traffic: nil,
            isShared: true)
        claim = Claim(
            upstream: service.pool.connectionCame(to: pair.upstreamAddress), address: pair.upstreamAddress)
    }

    func start() {
        let timer = LoopTimer(loop) { [unowned self] in timerFired() }
        self.timer = timer
        if case .header = phase {
            client.start(reading: true)
            timer.arm(after: service.configuration.proxyHeaderTimeout)
        } else {
            client.start(reading: false)
            connect()
        }
    }

    // MARK: The client's header

    func receivedBeforeJoin(_ bytes: RawSpan) {
        guard case .header(var decoder) = phase else {
            preconditionFailure("the client is read while connecting")
        }
        let outcome = bytes.withUnsafeBytes { decoder.feed($0) }
        switch outcome {
        case .needMore:
            phase = .header(decoder)
        case .header(let header, let consumed):
            clientHeader = header
            bytes.extracting(droppingFirst: consumed).withUnsafeBytes { early = Array($0) }
            client.pauseReading()
            connect()
        case .malformed(let error):
            refuse("\(error)")
        }
    }

    /// No more bytes can come, so no header can. While connecting the client is not read: its FIN is told later.
    func inputEndedBeforeJoin() {
        guard case .header = phase else { preconditionFailure("the client is read while connecting") }
        close()
    }

    private func refuse(_ reason: String) {
        service.logger.info(
            "client refused: no PROXY protocol header", metadata: ["peer": "\(origin.peer)", "error": "\(reason)"])
        close()
    }

    // MARK: Connecting

    private func connect() {
        assert(claim == nil && upstream == nil)
        phase = .connecting
        // Each attempt has its own timeout; the idle timer begins when bytes can pass.
        timer?.cancel()
        guard tried.count < service.configuration.connectAttemptsMax,
            let choice = service.pool.choose(excluding: tried, now: .now)
        else {
            service.noUpstream(for: origin.peer, tried: tried.count)
            return close()
        }
        tried.append(choice)
        claim = Claim(upstream: choice.upstream, address: choice.address)
        service.pool.connectionStarted(choice.upstream)
        connector = Connector.connect(loop, to: choice.address, timeout: service.configuration.connectTimeout) {
            [self] result in connected(choice, result)
        }
    }

    private func connected(_ choice: UpstreamPool.Choice, _ result: Result<Int32, ConnectError>) {
        connector = nil
        switch (result, phase) {
        case (.success(let fd), .connecting):
            service.connectSucceeded(choice)
            join(
                ProxyLeg(loop, DetachedConnection(fd: fd), session: self, traffic: nil, isShared: false))
        case (.success(let fd), _):
            // The client left meanwhile.
            service.connectSucceeded(choice)
            Glibc.close(fd)
            releaseUpstream()
            endIfOver()
        case (.failure(.cancelled), _):
            releaseUpstream()
            close()
            endIfOver()
        case (.failure(let error), .connecting) where error.isShortage && mayWaitForResources():
            // Not the upstream's fault, and it may pass: the client is kept, and its bytes wait in the kernel.
            releaseUpstream()
            tried.removeLast()
            service.connectDelayed(error)
            timer?.arm(after: Self.shortageRest)
        case (.failure(let error), .connecting):
            releaseUpstream()
            service.connectFailed(choice, error)
            connect()
        case (.failure, _):
            releaseUpstream()
            endIfOver()
        }
    }

    /// True until the connect timeout has passed since the first time that a descriptor or memory was missing.
    private func mayWaitForResources() -> Bool {
        let deadline = shortageDeadline ?? .now + service.configuration.connectTimeout
        shortageDeadline = deadline
        return .now < deadline
    }

    private func join(_ upstream: ProxyLeg) {
        phase = .joined
        self.upstream = upstream
        upstream.join(client, lastActivity: loop.turnTime)
        client.join(upstream, lastActivity: loop.turnTime)
        upstream.start()
        if let version = service.configuration.sendsProxyHeader {
            header.encoded(version).withUnsafeBytes { _ = upstream.write($0) }
        }
        early.withUnsafeBytes { _ = upstream.write($0) }
        early = []
        client.resumeReading()
        timer?.arm(after: service.configuration.idleTimeout)
    }

    /// Says who the client is: what its own header said, or else what its socket says.
    private var header: ProxyHeader {
        if let clientHeader, clientHeader != .unknown { return clientHeader }
        guard let destination = client.localAddress else { return .unknown }
        return .proxied(source: origin.peer, destination: destination)
    }

    // MARK: Moving

    /// Starts a pair that was frozen. Its header, if there is one, was sent in its former life.
    func goOn(lastActivity: MonotonicTime) {
        guard let upstream else { preconditionFailure("a frozen pair has two sides") }
        let lastActivity = min(lastActivity, .now)
        upstream.join(client, lastActivity: lastActivity)
        client.join(upstream, lastActivity: lastActivity)
        // Back-pressure as before: who would write to a side that has much to send is not read.
        upstream.start(reading: client.isWritable)
        client.start(reading: upstream.isWritable)
        let timer = LoopTimer(loop) { [unowned self] in timerFired() }
        self.timer = timer
        timer.arm(at: lastActivity + service.configuration.idleTimeout)
    }

    /// Begins to leave; false when this is no pair, or one side has ended.
    func freeze() -> Bool {
        guard case .joined = phase, let upstream, client.canDetach, upstream.canDetach else { return false }
        phase = .freezing
        timer?.cancel()
        client.detach { [unowned self] detached in
            clientPart = consume detached
            leaveIfDetached()
        }
        upstream.detach { [unowned self] detached in
            upstreamPart = consume detached
            leaveIfDetached()
        }
        return true
    }

    private func leaveIfDetached() {
        guard clientPart != nil, upstreamPart != nil else { return }
        guard let clientPart = clientPart.take(), let upstreamPart = upstreamPart.take(), let claim, let upstream,
            let pair = FrozenPair(
                upstreamAddress: claim.address, lastActivity: max(client.lastActivity, upstream.lastActivity),
                client: clientPart.remainder, upstream: upstreamPart.remainder)
        else { preconditionFailure("the end of one side's input ends the other's output") }
        client.countTraffic()
        releaseUpstream()
        service.freezingEnded()
        let sockets = [clientPart.takeDescriptor(), upstreamPart.takeDescriptor()]
        service.left(self, as: origin.frozen(sockets, state: FrozenState.pair(pair).encoded))
    }

    // MARK: Ending

    func closed(_ leg: ProxyLeg, _ reason: CloseReason) {
        if leg === client { clientIsClosed = true } else { releaseUpstream() }
        switch reason {
        case .finished:
            // The other leg has been told to finish, and does when its peer has taken everything.
            break
        case .reset, .failed, .aborted, .writeQueueOverflow, .fileTooShort:
            end { $0.abort() }
        case .closed, .loopStopped:
            end { $0.close() }
        }
        endIfOver()
    }

    /// Closes both sides.
    func close() {
        end { $0.close() }
    }

    private func end(_ how: (Connection) -> Void) {
        if case .freezing = phase { service.freezingEnded() }
        phase = .ending
        timer?.cancel()
        connector?.cancel()
        how(client)
        if let upstream { how(upstream) }
        endDetached(how)
    }

    /// One side had let go of its socket already when the other broke: a leg that is not started closes it in the same way.
    private func endDetached(_ how: (Connection) -> Void) {
        if let part = clientPart.take() {
            how(ProxyLeg(loop, part, session: self, traffic: nil, isShared: true))
            clientIsClosed = true
        }
        if let part = upstreamPart.take() {
            how(ProxyLeg(loop, part, session: self, traffic: nil, isShared: true))
            releaseUpstream()
        }
    }

    private func releaseUpstream() {
        guard let claim else { preconditionFailure("an upstream is released once") }
        service.pool.connectionEnded(claim.upstream)
        self.claim = nil
    }

    private func endIfOver() {
        guard clientIsClosed, claim == nil else { return }
        timer?.cancel()
        service.ended(self)
    }

    // MARK: Time

    private func timerFired() {
        switch phase {
        case .header:
            refuse("none within \(service.configuration.proxyHeaderTimeout)")
        case .joined:
            guard let upstream else { preconditionFailure("joined to nothing") }
            let idleAt = max(client.lastActivity, upstream.lastActivity) + service.configuration.idleTimeout
            if idleAt <= .now { close() } else { timer?.arm(at: idleAt) }
        case .connecting:
            connect()
        case .freezing, .ending:
            preconditionFailure("the timer is cancelled when the session ends or leaves")
        }
    }
}
