import Glibc

/// A descriptor with a registration at a loop: listeners, connections, connectors and watches are channels.
///
/// Its loop keeps it alive until everything it submitted has completed. Loop thread only.
open class Channel {
    /// The loop it belongs to for life.
    public let loop: EventLoop
    package let fd: Int32
    private(set) var registration: RegistrationID?
    private(set) var isClosing = false
    /// The descriptor is closed or handed over: its number may be another's already.
    var isReleased: Bool { isClosing && registration == nil }

    init(_ loop: EventLoop, fd: Int32) {
        self.loop = loop
        self.fd = fd
    }

    deinit {
        assert(registration == nil, "a registered channel is kept alive by its loop")
    }

    func register() {
        precondition(registration == nil && !isClosing, "a channel registers once")
        registration = loop.register(self)
    }

    @inline(__always)
    func submit(_ operation: Operation, _ kind: OperationKind) {
        guard let registration else { preconditionFailure("submit before register") }
        loop.submit(operation, kind, registration)
    }

    func isInFlight(_ kind: OperationKind) -> Bool {
        guard let registration else { return false }
        return loop.isInFlight(kind, registration)
    }

    /// The operation of `kind` is over but for its notification, which neither closing nor anything else waits for.
    func awaitNotification(_ kind: OperationKind) {
        guard let registration else { preconditionFailure("a result after the release") }
        loop.awaitNotification(kind, registration)
    }

    /// Asks the kernel to end the operation of `kind`, unless none is in flight or it is being asked already.
    func cancel(_ kind: OperationKind) {
        guard let registration, let cancellation = kind.cancellation else { return }
        guard isInFlight(kind), !isInFlight(cancellation) else { return }
        guard !loop.awaitsNotification(kind, registration) else { return }
        submit(.cancel(UserData(kind, registration)), cancellation)
    }

    /// Cancels what is in flight; `released()` follows when all of it has completed.
    func beginClosing() {
        guard !isClosing else { return }
        isClosing = true
        guard let registration else { return }
        cancelAll()
        loop.deregister(registration)
    }

    private func cancelAll() {
        guard let registration else { return }
        // Most connections end with nothing in flight.
        var bits = loop.inFlight(registration) & OperationKind.cancellableBits
        while bits != 0 {
            if let kind = OperationKind(rawValue: UInt8(bits.trailingZeroBitCount)) { cancel(kind) }
            bits &= bits - 1
        }
    }

    /// A cancellation has completed. While closing, one that came too early for its target is tried again:
    /// the target may have been on its way to or from a poll (EALREADY), or newer than the cancellation.
    func cancellationCompleted() {
        if isClosing { cancelAll() }
    }

    /// A completion for this channel.
    func completed(_ kind: OperationKind, _ completion: Completion) {
        preconditionFailure("every channel overrides this")
    }

    /// A completion of a receive. Apart from ``completed(_:_:)``, as that of a send, because these two come with each message.
    func receiveCompleted(_ completion: Completion) {
        completed(.receive, completion)
    }

    /// A completion of a send.
    func sendCompleted(_ completion: Completion) {
        completed(.send, completion)
    }

    /// The turn ends and the channel was marked dirty.
    func flush() {}

    /// A turn begins, and the one before was asked for it.
    func goOn() {}

    /// Receive buffers have come back for a channel that waited for some.
    func receiveBuffersReturned() {}

    /// The loop is stopping: close.
    func loopIsStopping() {
        beginClosing()
    }

    /// Nothing is in flight any more, but for notifications about memory: the descriptor can be closed. The loop keeps
    /// the channel alive until those have come, too.
    func released() {
        registration = nil
    }
}
