import Glibc

/// Why a connection could not be made.
public enum ConnectError: Error, Hashable, Sendable {
    /// Nothing came of it in time.
    case timedOut
    /// ``Connector/cancel()`` was called, or the loop stopped.
    case cancelled
    /// The kernel said no: ECONNREFUSED, EHOSTUNREACH, ENOENT, EMFILE, …
    case failed(SystemError)
}

/// One attempt to connect a stream socket. Loop thread only.
public final class Connector: Channel {
    private enum Outcome {
        case pending
        case connected
        case failed(ConnectError)
    }

    private let completion: (Result<ConnectedSocket, ConnectError>) -> Void
    /// The kernel reads the address until the operation completes.
    private let address = UnsafeMutablePointer<sockaddr_storage>.allocate(capacity: 1)
    private var outcome = Outcome.pending
    private var fastOpenBytesTaken = 0
    private var timer: LoopTimer?

    /// Begins to connect. `completion` is called once, on the loop's thread and never from within this call,
    /// with a connected socket that the caller then owns, or with the reason why there is none.
    ///
    /// - Returns: the attempt; nil when it has failed already, which `completion` is going to tell.
    @discardableResult
    public static func connect(
        _ loop: EventLoop, to address: SocketAddress, _ configuration: ConnectorConfiguration,
        completion: @escaping (Result<ConnectedSocket, ConnectError>) -> Void
    ) -> Connector? {
        let fd: Int32
        do throws(SystemError) {
            fd = try prepareSocket(for: address, configuration)
        } catch {
            loop.executeAtEndOfTurn { completion(.failure(.failed(error))) }
            return nil
        }
        let connector = Connector(loop, fd: fd, completion: completion)
        connector.begin(address, configuration)
        return connector
    }

    /// As ``connect(_:to:_:completion:)`` with the defaults but for the timeout.
    @discardableResult
    public static func connect(
        _ loop: EventLoop, to address: SocketAddress, timeout: Duration,
        completion: @escaping (Result<Int32, ConnectError>) -> Void
    ) -> Connector? {
        var configuration = ConnectorConfiguration()
        configuration.timeout = timeout
        return connect(loop, to: address, configuration) { completion($0.map(\.fd)) }
    }

    /// As ``connect(_:to:_:completion:)``, with a socket that the caller has made and set up: unconnected, in blocking mode. It
    /// is the attempt's from now on, and closed if nothing comes of it.
    @discardableResult
    public static func connect(
        _ loop: EventLoop, socket fd: Int32, to address: SocketAddress, timeout: Duration,
        completion: @escaping (Result<ConnectedSocket, ConnectError>) -> Void
    ) -> Connector? {
        do throws(SystemError) {
            try address.check(for: "connect")
        } catch {
            close(fd)
            loop.executeAtEndOfTurn { completion(.failure(.failed(error))) }
            return nil
        }
        let connector = Connector(loop, fd: fd, completion: completion)
        var configuration = ConnectorConfiguration()
        configuration.timeout = timeout
        connector.begin(address, configuration)
        return connector
    }

    private init(
        _ loop: EventLoop, fd: Int32, completion: @escaping (Result<ConnectedSocket, ConnectError>) -> Void
    ) {
        self.completion = completion
        address.initialize(to: sockaddr_storage())
        super.init(loop, fd: fd)
    }

    deinit {
        address.deallocate()
    }

    /// Gives up. The completion is still called, with ``ConnectError/cancelled`` unless it was decided already.
    public func cancel() {
        end(.failed(.cancelled))
    }

    // MARK: Beginning

    private static func prepareSocket(
        for address: SocketAddress, _ configuration: ConnectorConfiguration
    ) throws(SystemError) -> Int32 {
        try address.check(for: "connect")
        let fd = try Socket.stream(address.family)
        do throws(SystemError) {
            if address.port != nil { Socket.setNoDelay(fd) }
            try Socket.apply(configuration.options, to: fd)
            if let local = configuration.localAddress {
                if local.port == 0 { try Socket.set(.bindAddressNoPort, true, of: fd) }
                try Socket.bind(fd, to: local)
            }
            return fd
        } catch {
            close(fd)
            throw error
        }
    }

    private func begin(_ target: SocketAddress, _ configuration: ConnectorConfiguration) {
        register()
        let timer = LoopTimer(loop) { [unowned self] in end(.failed(.timedOut)) }
        timer.arm(after: configuration.timeout)
        self.timer = timer
        if target.port != nil, !configuration.fastOpenData.isEmpty {
            beginFastOpen(target, configuration.fastOpenData)
        } else {
            beginPlainly(target)
        }
    }

    private func beginPlainly(_ target: SocketAddress) {
        let length = target.write(to: &address.pointee)
        let address = UnsafeRawPointer(address).assumingMemoryBound(to: sockaddr.self)
        submit(.connect(fd: fd, address: address, length: length), .connect)
    }

    /// Sends SYN by sendto(2) with MSG_FASTOPEN (tcp(7), Linux 3.7). Where the kernel has the server's cookie it takes bytes, and
    /// EINPROGRESS says that it has none and is asking for one; both ways the connection is being made. EOPNOTSUPP says that
    /// fast open is not allowed here, and that nothing has begun.
    private func beginFastOpen(_ target: SocketAddress, _ data: [UInt8]) {
        let flags = Int32(MSG_FASTOPEN) | Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL)
        let result = target.withSockaddr { sendto(fd, data, data.count, flags, $0, $1) }
        if result < 0, errno == EOPNOTSUPP { return beginPlainly(target) }
        if result < 0, errno != EINPROGRESS { return end(.failed(.failed(.last("connect")))) }
        fastOpenBytesTaken = max(0, result)
        assert(fastOpenBytesTaken <= data.count)
        submit(.poll(fd: fd, events: UInt32(POLLOUT), multishot: false), .pollWrite)
    }

    // MARK: Ending

    private func end(_ outcome: Outcome) {
        guard case .pending = self.outcome else { return }
        self.outcome = outcome
        timer?.cancel()
        beginClosing()
    }

    override func loopIsStopping() {
        cancel()
    }

    override func completed(_ kind: OperationKind, _ completion: Completion) {
        switch kind {
        case .connect:
            end(completion.result)
        case .pollWrite:
            end(completion.result < 0 ? completion.result : Socket.pendingError(of: fd) ?? 0)
        case .cancelConnect, .cancelPollWrite:
            cancellationCompleted()
        default:
            preconditionFailure("a connector does not \(kind)")
        }
    }

    /// Ends with 0 for connected, or an errno of either sign.
    private func end(_ result: Int32) {
        end(result == 0 ? .connected : .failed(.failed(SystemError("connect", code: result))))
    }

    override func released() {
        super.released()
        timer = nil
        switch outcome {
        case .connected:
            completion(.success(ConnectedSocket(fd: fd, fastOpenBytesTaken: fastOpenBytesTaken)))
        case .failed(let error):
            close(fd)
            completion(.failure(error))
        case .pending:
            preconditionFailure("a connector ends with an outcome")
        }
    }
}
