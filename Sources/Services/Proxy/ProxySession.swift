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
    private(set) var client: ProxyLeg!
    /// Both legs live as long as the session: each refers to the other without keeping it alive.
    private var upstream: ProxyLeg?
    private var connector: Connector?
    private var tried: [UpstreamPool.Choice] = []
    private var chosen: Int?
    private var clientHeader: ProxyHeader?
    /// Payload that came in the same segment as the client's header.
    private var early: [UInt8] = []
    private var clientInputEnded = false
    private var clientIsClosed = false
    /// There is no upstream connection, or none any more.
    private var upstreamIsClosed = true
    private var timer: LoopTimer?
    /// When a byte last moved. Read when the idle timer fires, so that a byte costs no more than this store.
    var lastActivity: MonotonicTime

    init(_ service: ProxyService, _ loop: EventLoop, _ incoming: IncomingConnection) {
        self.service = service
        self.loop = loop
        self.incoming = incoming
        lastActivity = loop.turnTime
        phase = service.configuration.acceptsProxyHeader ? .header(ProxyHeaderDecoder()) : .connecting
        var configuration = ConnectionConfiguration()
        configuration.isShared = incoming.isShared
        client = ProxyLeg(loop, fd: incoming.fd, session: self, configuration: configuration)
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
        guard case .header(var decoder) = phase else { return early.append(contentsOf: bytes) }
        let outcome = bytes.withUnsafeBytes { decoder.feed($0) }
        switch outcome {
        case .needMore:
            phase = .header(decoder)
        case .header(let header, let consumed):
            clientHeader = header
            early.append(contentsOf: bytes.extracting(droppingFirst: consumed))
            client.pauseReading()
            connect()
        case .malformed(let error):
            service.logger.info(
                "client refused: no PROXY protocol header", metadata: ["peer": "\(incoming.peer)", "error": "\(error)"])
            close()
        }
    }

    // MARK: Connecting

    private func connect() {
        phase = .connecting
        guard tried.count < service.configuration.connectAttemptsMax,
            let choice = service.pool.choose(excluding: tried, now: .now)
        else { return noUpstream() }
        tried.append(choice)
        service.pool.connectionStarted(choice.upstream)
        chosen = choice.upstream
        // Each attempt has its own timeout; the idle timer begins when bytes can pass.
        timer?.cancel()
        connector = Connector.connect(loop, to: choice.address, timeout: service.configuration.connectTimeout) {
            [self] result in connected(choice, result)
        }
    }

    private func connected(_ choice: UpstreamPool.Choice, _ result: Result<Int32, ConnectError>) {
        connector = nil
        switch result {
        case .success(let fd):
            service.pool.connectSucceeded(choice)
            let upstream = ProxyLeg(loop, fd: fd, session: self, configuration: ConnectionConfiguration())
            guard case .connecting = phase else {
                // The client left meanwhile.
                upstream.close()
                return endIfOver()
            }
            join(upstream)
        case .failure(let error):
            releaseUpstream()
            guard case .connecting = phase else { return endIfOver() }
            service.connectFailed(choice, error)
            connect()
        }
    }

    private func noUpstream() {
        service.logger.warning(
            "client closed: no upstream can be reached",
            metadata: ["peer": "\(incoming.peer)", "tried": "\(tried.count)"])
        close()
    }

    private func join(_ upstream: ProxyLeg) {
        phase = .joined
        self.upstream = upstream
        upstreamIsClosed = false
        upstream.join(client)
        client.join(upstream)
        upstream.start()
        if let version = service.configuration.sendsProxyHeader {
            header.encoded(version).withUnsafeBytes { _ = upstream.write($0) }
        }
        if !early.isEmpty {
            early.withUnsafeBytes { _ = upstream.write($0) }
            early = []
        }
        client.resumeReading()
        if clientInputEnded { upstream.finishOutput() }
        lastActivity = loop.turnTime
        timer?.arm(after: service.configuration.idleTimeout)
    }

    /// Says who the client is: what its own header said, or else what its socket says.
    private var header: ProxyHeader {
        if let clientHeader, clientHeader != .unknown { return clientHeader }
        guard let destination = client.localAddress else { return .unknown }
        return .proxied(source: incoming.peer, destination: destination)
    }

    // MARK: Ending

    /// FIN from one side becomes FIN to the other; what is queued before it is sent first.
    func inputEnded(_ leg: ProxyLeg) {
        if let other = leg.other {
            other.finishOutput()
        } else if case .header = phase {
            // No more bytes can come, so no header can.
            close()
        } else {
            clientInputEnded = true
        }
    }

    func closed(_ leg: ProxyLeg, _ reason: CloseReason) {
        if leg === client {
            clientIsClosed = true
        } else {
            upstreamIsClosed = true
            releaseUpstream()
        }
        switch reason {
        case .finished:
            // The other leg has been told to finish, and does when its peer has taken everything.
            break
        case .reset, .failed, .aborted, .writeQueueOverflow:
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
        if !clientIsClosed { how(client) }
        if let upstream, !upstreamIsClosed { how(upstream) }
    }

    private func releaseUpstream() {
        if let chosen { service.pool.connectionEnded(chosen) }
        chosen = nil
    }

    private func endIfOver() {
        guard clientIsClosed, upstreamIsClosed, connector == nil else { return }
        timer?.cancel()
        timer = nil
        releaseUpstream()
        service.ended(self)
    }

    // MARK: Time

    private func timerFired() {
        switch phase {
        case .header:
            service.logger.info(
                "client refused: no PROXY protocol header in time", metadata: ["peer": "\(incoming.peer)"])
            close()
        case .joined:
            let idleAt = lastActivity + service.configuration.idleTimeout
            if idleAt <= .now { close() } else { timer?.arm(at: idleAt) }
        case .connecting, .ending:
            break
        }
    }
}

extension [UInt8] {
    fileprivate mutating func append(contentsOf bytes: RawSpan) {
        bytes.withUnsafeBytes { append(contentsOf: $0) }
    }
}
