import Glibc
import Logging
import Transport

/// One client and its upstream: reads the PROXY header if there is one, connects, joins the two, ends both.
final class ProxySession {
    private enum Phase {
        /// Reads the client's PROXY protocol header.
        case header(ProxyHeaderDecoder)
        /// Connects to an upstream; the client is not read.
        case connecting
        /// Bytes pass.
        case joined
        /// Waits for what is left to close.
        case ending
    }

    private unowned let service: ProxyService
    private let loop: EventLoop
    private let incoming: IncomingConnection
    private var phase: Phase
    /// Both legs live as long as the session: each refers to the other without keeping it alive.
    private(set) var client: ProxyLeg!
    private(set) var upstream: ProxyLeg?
    private var clientIsClosed = false
    /// The upstream that is being connected, or is: what the pool counts and what must end before the session does.
    private var chosen: UpstreamPool.Choice?
    private var connector: Connector?
    private var tried: [UpstreamPool.Choice] = []
    private var clientHeader: ProxyHeader?
    /// Payload that came in the same piece as the end of the client's header: one receive buffer at most.
    private var early: [UInt8] = []
    private var timer: LoopTimer?
    /// Until when connecting is tried again for want of descriptors or memory; nil while nothing was missing.
    private var shortageDeadline: MonotonicTime?

    /// How soon it is tried again.
    private static let shortageRest: Duration = .milliseconds(50)

    init(_ service: ProxyService, _ loop: EventLoop, _ incoming: IncomingConnection) {
        self.service = service
        self.loop = loop
        self.incoming = incoming
        phase = service.configuration.acceptsProxyHeader ? .header(ProxyHeaderDecoder()) : .connecting
        client = ProxyLeg(
            loop, fd: incoming.fd, session: self, traffic: service.traffic, isShared: incoming.isShared)
    }

    func start() {
        if incoming.peer.port != nil { Socket.setNoDelay(incoming.fd) }
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
            "client refused: no PROXY protocol header", metadata: ["peer": "\(incoming.peer)", "error": "\(reason)"])
        close()
    }

    // MARK: Connecting

    private func connect() {
        assert(chosen == nil && upstream == nil)
        phase = .connecting
        // Each attempt has its own timeout; the idle timer begins when bytes can pass.
        timer?.cancel()
        guard tried.count < service.configuration.connectAttemptsMax,
            let choice = service.pool.choose(excluding: tried, now: .now)
        else {
            service.noUpstream(for: incoming.peer, tried: tried.count)
            return close()
        }
        tried.append(choice)
        chosen = choice
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
            join(ProxyLeg(loop, fd: fd, session: self, traffic: nil, isShared: false))
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
        upstream.join(client)
        client.join(upstream)
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
        return .proxied(source: incoming.peer, destination: destination)
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

    private func end(_ how: (ProxyLeg) -> Void) {
        phase = .ending
        timer?.cancel()
        connector?.cancel()
        how(client)
        if let upstream { how(upstream) }
    }

    private func releaseUpstream() {
        guard let chosen else { preconditionFailure("an upstream is released once") }
        service.pool.connectionEnded(chosen.upstream)
        self.chosen = nil
    }

    private func endIfOver() {
        guard clientIsClosed, chosen == nil else { return }
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
        case .ending:
            preconditionFailure("the timer is cancelled when the session ends")
        }
    }
}
