import Glibc
import NIOCore

/// A listening socket as SwiftNIO's channel: what it reads are the channels of accepted connections. Or, without a socket,
/// what stands for one where another process accepts, and connections are handed over.
///
/// Unchecked: what changes is touched on the loop's thread only.
final class RingListenerChannel: RingChannel, @unchecked Sendable {
    private enum Source {
        /// A socket that is not listening yet.
        case socket(Int32)
        case listener(CoreListener, Int32)
        /// Whoever calls ``deliver(_:)``.
        case handOff
        case nobody
    }

    /// A connection that no channel has yet.
    struct Accepted {
        var fd: Int32
        /// Another process may hold a copy.
        var isShared = false
        /// What was received from it by somebody else.
        var unread = ByteBuffer()
        /// Whom it comes from, where a supervisor has accepted it.
        var origin: ConnectionOrigin?
        /// It was to leave for another worker, and nobody would have it.
        var isRefused = false

        /// Closes the socket. A copy elsewhere must not keep the peer waiting.
        func discard() {
            if isShared { shutdown(fd, Int32(SHUT_RDWR)) }
            Glibc.close(fd)
        }
    }

    private var source: Source
    private let nextLoop: @Sendable () -> RingEventLoop
    private var backlog: Int32 = 4096
    /// Accepted while nobody read: as many as the kernel had accepted before the listener paused, or as were delivered.
    private var parked = CircularBuffer<Accepted>()
    /// Told of each connection that was delivered, and closed before it had a channel.
    private let discarded: () -> Void

    /// Takes over a stream socket in blocking mode, to be bound and to listen.
    ///
    /// - Parameter nextLoop: has the loops of the connections.
    init(_ loop: RingEventLoop, fd: Int32, nextLoop: @escaping @Sendable () -> RingEventLoop) {
        source = .socket(fd)
        self.nextLoop = nextLoop
        discarded = {}
        super.init(loop, isWritable: false)
        setAddresses(local: CoreSocket.localAddress(of: fd).map(NIOCore.SocketAddress.init), remote: nil)
    }

    /// Without a socket: connections are delivered, and stay on this loop.
    ///
    /// - Parameter discarded: called for each connection that is closed before it has a channel.
    init(_ loop: RingEventLoop, discarded: @escaping () -> Void = {}) {
        source = .handOff
        self.discarded = discarded
        nextLoop = { loop }
        super.init(loop, isWritable: false)
    }

    override var descriptor: Int32 {
        switch source {
        case .socket(let fd), .listener(_, let fd): fd
        // No descriptor: calls with it fail with EBADF.
        case .handOff, .nobody: -1
        }
    }

    // MARK: Life

    override func bind0(to address: NIOCore.SocketAddress, promise: EventLoopPromise<Void>?) {
        guard lifecycle.isOpen else { return fail(promise, ChannelError.ioOnClosedChannel) }
        guard lifecycle.isRegistered, !lifecycle.isActive else {
            return fail(promise, ChannelError.inappropriateOperationForState)
        }
        guard case .socket(let fd) = source else { return fail(promise, ChannelError.operationUnsupported) }
        do throws(CoreError) {
            try CoreSocket.bind(fd, to: CoreAddress(address))
        } catch {
            return fail(promise, IOError(error))
        }
        becomeActive0(promise: promise)
    }

    /// A socket that was bound by somebody else listens now, and one that is new listens as well.
    override func becomeActive0(promise: EventLoopPromise<Void>?) {
        if case .socket(let fd) = source {
            guard listen(fd, backlog) == 0 else {
                let error = IOError(errnoCode: errno, reason: "listen")
                fail(promise, error)
                return close(error, nil)
            }
            setAddresses(local: CoreSocket.localAddress(of: fd).map(NIOCore.SocketAddress.init), remote: nil)
        }
        super.becomeActive0(promise: promise)
    }

    override func activating() {
        guard case .socket(let fd) = source else { return }
        let listener = CoreListener(loop.core, fd: fd, removesPath: false) { [unowned self] fd in
            deliver(Accepted(fd: fd))
        }
        source = .listener(listener, fd)
    }

    override func release() {
        switch source {
        case .socket(let fd):
            Glibc.close(fd)
            released()
        case .listener(let listener, _):
            // Not what is in the kernel's queue: it goes with the socket, as with SwiftNIO's own channels.
            listener.detach { [self] fd in
                Glibc.close(fd)
                source = .nobody
                closeParked()
                released()
            }
            return
        case .handOff, .nobody:
            released()
        }
        source = .nobody
        closeParked()
    }

    /// Closes the connections that nobody has read.
    func closeParked() {
        while let accepted = parked.popFirst() { discard(accepted) }
    }

    private func discard(_ accepted: Accepted) {
        accepted.discard()
        discarded()
    }

    // MARK: Reading

    /// A connection for this listener. The channel owns the socket from now on: connected, in blocking mode.
    func deliver(_ accepted: Accepted) {
        guard lifecycle.isActive else { return discard(accepted) }
        if mayRead, parked.isEmpty { return fire(accepted) }
        parked.append(accepted)
        if case .listener(let listener, _) = source { listener.pause() }
    }

    private func fire(_ accepted: Accepted) {
        let channel = RingStreamChannel(nextLoop(), accepted, parent: self)
        fireRead(NIOAny(channel))
    }

    override func readParked() {
        while lifecycle.isActive, mayRead, let accepted = parked.popFirst() { fire(accepted) }
    }

    override func readMore() {
        if !parked.isEmpty { return finishReadLater() }
        if case .listener(let listener, _) = source { listener.resume() }
    }

    /// A connection that no handler has set up: it begins its life as it is.
    override func channelRead0(_ data: NIOAny) {
        guard let channel = tryUnwrapData(data, as: (any NIOCore.Channel).self) as? RingStreamChannel,
            !channel.isActive
        else { return }
        if channel.loop.inEventLoop { return channel.registerAlreadyConfigured0(promise: nil) }
        if !channel.loop.tasks.offer(.function { channel.registerAlreadyConfigured0(promise: nil) }) {
            channel.discard()
        }
    }

    // MARK: Options

    override func setOwnOption<Option: ChannelOption>(_ option: Option, _ value: Option.Value) throws -> Bool {
        switch (option, value) {
        case (is ChannelOptions.Types.BacklogOption, let value as Int32): backlog = value
        // What it reads are connections: there is nothing to allocate.
        case (is ChannelOptions.Types.RecvAllocatorOption, _): break
        default: return false
        }
        return true
    }

    override func getOwnOption<Option: ChannelOption>(_ option: Option) throws -> Option.Value? {
        option is ChannelOptions.Types.BacklogOption ? backlog as? Option.Value : nil
    }
}
