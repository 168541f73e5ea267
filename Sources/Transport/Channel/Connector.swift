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

    private let completion: (Result<Int32, ConnectError>) -> Void
    /// The kernel reads the address until the operation completes.
    private let address = UnsafeMutablePointer<sockaddr_storage>.allocate(capacity: 1)
    private var outcome = Outcome.pending
    private var timer: LoopTimer?

    /// Begins to connect. `completion` is called once, on the loop's thread and never from within this call,
    /// with a connected socket that the caller then owns, or with the reason why there is none.
    @discardableResult
    public static func connect(
        _ loop: EventLoop, to address: SocketAddress, timeout: Duration,
        completion: @escaping (Result<Int32, ConnectError>) -> Void
    ) -> Connector? {
        let fd: Int32
        do throws(SystemError) {
            fd = try Socket.stream(address.family)
        } catch {
            loop.executeAtEndOfTurn { completion(.failure(.failed(error))) }
            return nil
        }
        if address.port != nil { Socket.setNoDelay(fd) }
        let connector = Connector(loop, fd: fd, completion: completion)
        connector.begin(address, timeout)
        return connector
    }

    private init(_ loop: EventLoop, fd: Int32, completion: @escaping (Result<Int32, ConnectError>) -> Void) {
        self.completion = completion
        address.initialize(to: sockaddr_storage())
        super.init(loop, fd: fd)
    }

    deinit {
        address.deallocate()
    }

    private func begin(_ target: SocketAddress, _ timeout: Duration) {
        register()
        let length = target.write(to: &address.pointee)
        submit(
            .connect(
                fd: fd, address: UnsafeRawPointer(address).assumingMemoryBound(to: sockaddr.self), length: length),
            .connect)
        let timer = LoopTimer(loop) { [unowned self] in end(.failed(.timedOut)) }
        timer.arm(after: timeout)
        self.timer = timer
    }

    /// Gives up. The completion is still called, with ``ConnectError/cancelled`` unless it was decided already.
    public func cancel() {
        end(.failed(.cancelled))
    }

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
            end(completion.result == 0 ? .connected : .failed(.failed(SystemError("connect", code: completion.result))))
        case .cancelConnect:
            cancellationCompleted()
        default:
            preconditionFailure("a connector does not \(kind)")
        }
    }

    override func released() {
        super.released()
        timer = nil
        switch outcome {
        case .connected:
            completion(.success(fd))
        case .failed(let error):
            close(fd)
            completion(.failure(error))
        case .pending:
            preconditionFailure("a connector ends with an outcome")
        }
    }
}
