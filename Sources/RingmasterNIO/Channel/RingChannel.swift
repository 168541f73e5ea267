import Glibc
import NIOCore
import Synchronization

/// What the channels here have in common: their life, their options, when they read. Subclasses bring the socket.
///
/// Unchecked: what changes is behind a lock, atomic, or touched on the loop's thread only.
class RingChannel: NIOCore.Channel, ChannelCore, @unchecked Sendable {
    /// What other threads may ask for.
    struct Shared {
        var local: NIOCore.SocketAddress?
        var remote: NIOCore.SocketAddress?
        var allocator = ByteBufferAllocator()
    }

    let loop: RingEventLoop
    let parent: (any NIOCore.Channel)?
    private let closePromise: EventLoopPromise<Void>
    private let shared = Mutex(Shared())
    private let activeFlag = Atomic<Bool>(false)
    let writableFlag: Atomic<Bool>
    /// Set once, in `init`.
    private var madePipeline: ChannelPipeline?

    // Loop thread only.
    private(set) var lifecycle = ChannelLifecycle()
    private var closing: EventLoopPromise<Void>?
    private(set) var bufferAllocator = ByteBufferAllocator()
    private var autoRead = true
    /// Somebody has asked for more to be read.
    var readPending = false
    /// Messages read since `channelReadComplete` was fired.
    private var messagesRead: UInt = 0
    private var messagesPerReadMax: UInt = 4
    /// The loop is going to call ``finishRead()``.
    private var isInReaders = false

    init(_ loop: RingEventLoop, parent: (any NIOCore.Channel)? = nil, isWritable: Bool) {
        self.loop = loop
        self.parent = parent
        closePromise = loop.makePromise()
        writableFlag = Atomic(isWritable)
        madePipeline = ChannelPipeline(channel: self)
    }

    deinit {
        assert(!lifecycle.isOpen, "an open channel was leaked: close it")
    }

    // MARK: What subclasses bring

    /// The socket; only asked for while the channel is open. Loop thread.
    var descriptor: Int32 { preconditionFailure("every channel overrides this") }

    /// The channel becomes active: prepare to read and write. Calls nobody.
    func activating() {}

    /// The pipeline knows that the channel is active: send what was flushed before. May call out.
    func activated() {}

    /// A `read` is pending: see to it that something comes, or that ``finishRead()`` is called if it is there already.
    func readMore() {}

    /// Gives what was put aside while nobody read, as far as ``mayRead`` says.
    func readParked() {}

    /// Lets go of the socket; ``released()`` follows, now or when the kernel is done with it.
    func release() { preconditionFailure("every channel overrides this") }

    /// The channel has closed: what was asked for and cannot be done any more fails. Calls out.
    func failPending(_ error: any Error) {}

    func setOwnOption<Option: ChannelOption>(_ option: Option, _ value: Option.Value) throws -> Bool { false }
    func getOwnOption<Option: ChannelOption>(_ option: Option) throws -> Option.Value? { nil }

    func bind0(to address: NIOCore.SocketAddress, promise: EventLoopPromise<Void>?) {
        promise?.fail(ChannelError.operationUnsupported)
    }

    func connect0(to address: NIOCore.SocketAddress, promise: EventLoopPromise<Void>?) {
        promise?.fail(ChannelError.operationUnsupported)
    }

    func write0(_ data: NIOAny, promise: EventLoopPromise<Void>?) {
        promise?.fail(ChannelError.operationUnsupported)
    }

    func flush0() {}

    func close0(error: any Error, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        guard mode == .all || !lifecycle.isOpen else { return fail(promise, ChannelError.operationUnsupported) }
        close(error, promise)
    }

    func triggerUserOutboundEvent0(_ event: Any, promise: EventLoopPromise<Void>?) {
        promise?.fail(ChannelError.operationUnsupported)
    }

    func channelRead0(_ data: NIOAny) {}

    func errorCaught0(error: any Error) {}

    // MARK: Any thread

    var eventLoop: any NIOCore.EventLoop { loop }
    var _channelCore: any ChannelCore { self }
    var closeFuture: EventLoopFuture<Void> { closePromise.futureResult }
    var isActive: Bool { activeFlag.load(ordering: .relaxed) }
    var isWritable: Bool { writableFlag.load(ordering: .relaxed) }
    var localAddress: NIOCore.SocketAddress? { shared.withLock { $0.local } }
    var remoteAddress: NIOCore.SocketAddress? { shared.withLock { $0.remote } }
    var allocator: ByteBufferAllocator {
        loop.inEventLoop ? bufferAllocator : shared.withLock { $0.allocator }
    }

    var pipeline: ChannelPipeline {
        guard let madePipeline else { preconditionFailure("a channel has its pipeline from the start") }
        return madePipeline
    }

    // MARK: Life

    func setAddresses(local: NIOCore.SocketAddress?, remote: NIOCore.SocketAddress?) {
        shared.withLock { ($0.local, $0.remote) = (local, remote) }
    }

    func setAllocator(_ allocator: ByteBufferAllocator) {
        bufferAllocator = allocator
        shared.withLock { $0.allocator = allocator }
    }

    func fail(_ promise: EventLoopPromise<Void>?, _ error: any Error) {
        promise?.fail(error)
    }

    func localAddress0() throws -> NIOCore.SocketAddress {
        guard lifecycle.isOpen else { throw ChannelError.ioOnClosedChannel }
        guard let address = CoreSocket.localAddress(of: descriptor) else { throw ChannelError.unknownLocalAddress }
        return NIOCore.SocketAddress(address)
    }

    func remoteAddress0() throws -> NIOCore.SocketAddress {
        guard lifecycle.isOpen else { throw ChannelError.ioOnClosedChannel }
        guard let address = CoreSocket.peerAddress(of: descriptor) else {
            throw IOError(errnoCode: ENOTCONN, reason: "getpeername")
        }
        return NIOCore.SocketAddress(address)
    }

    func register0(promise: EventLoopPromise<Void>?) {
        guard lifecycle.isOpen else { return fail(promise, ChannelError.ioOnClosedChannel) }
        guard !lifecycle.isRegistered else { return fail(promise, ChannelError.inappropriateOperationForState) }
        guard loop.isOpen else {
            pipeline.syncOperations.fireErrorCaught(EventLoopError.shutdown)
            close0(error: EventLoopError.shutdown, mode: .all, promise: nil)
            return fail(promise, EventLoopError.shutdown)
        }
        lifecycle.register()
        loop.register(self)
        promise?.succeed(())
        pipeline.syncOperations.fireChannelRegistered()
    }

    func registerAlreadyConfigured0(promise: EventLoopPromise<Void>?) {
        let registered = eventLoop.makePromise(of: Void.self)
        register0(promise: registered)
        registered.futureResult.assumeIsolated().whenComplete { result in
            switch result {
            case .success where self.lifecycle.isRegistered && !self.lifecycle.isActive:
                self.becomeActive0(promise: promise)
            case .success:
                // A handler has closed it when it was told of the registration.
                promise?.fail(ChannelError.ioOnClosedChannel)
            case .failure(let error):
                promise?.fail(error)
                self.close(promise: nil)
            }
        }
    }

    func becomeActive0(promise: EventLoopPromise<Void>?) {
        lifecycle.beginActivation()
        activating()
        activeFlag.store(true, ordering: .relaxed)
        promise?.succeed(())
        // Whoever waited for it may have closed the channel.
        guard lifecycle.isOpen else { return }
        lifecycle.finishActivation()
        pipeline.syncOperations.fireChannelActive()
        guard lifecycle.isOpen else { return }
        activated()
        readIfNeeded()
    }

    /// Ends the channel. The pipeline is told at once; `promise` and the close future wait for the socket to be closed.
    final func close(_ error: any Error, _ promise: EventLoopPromise<Void>?) {
        guard lifecycle.isOpen else { return fail(promise, ChannelError.alreadyClosed) }
        let farewell = lifecycle.close()
        activeFlag.store(false, ordering: .relaxed)
        readPending = false
        closing = promise
        release()
        failPending(error)
        switch farewell {
        case .nothing:
            break
        case .unregistered:
            pipeline.syncOperations.fireChannelUnregistered()
        case .inactiveAndUnregistered:
            pipeline.syncOperations.fireChannelInactive()
            pipeline.syncOperations.fireChannelUnregistered()
        }
    }

    /// The socket is closed.
    final func released() {
        assert(!lifecycle.isOpen)
        // Later, since who is calling may be in the pipeline, or about to tell it of the end.
        loop.tasks.add(
            .function { [self] in
                closing?.succeed(())
                closing = nil
                removeHandlers(pipeline: pipeline)
                closePromise.succeed(())
                setAddresses(local: nil, remote: nil)
                loop.deregister(self)
            })
    }

    /// Its loop has ended before it could begin. Any thread, while nobody else knows of it.
    final func neverBegins() {
        let farewell = lifecycle.close()
        assert(farewell == .nothing)
    }

    // MARK: Reading

    /// Whether a message may be read now: somebody has asked for it, or for one before it in the same burst.
    final var mayRead: Bool { readPending || (messagesRead > 0 && messagesRead < messagesPerReadMax) }

    final func fireRead(_ message: NIOAny) {
        readPending = false
        messagesRead += 1
        pipeline.syncOperations.fireChannelRead(message)
        if messagesRead >= messagesPerReadMax { completeRead() } else { finishReadLater() }
    }

    final func finishReadLater() {
        guard !isInReaders else { return }
        isInReaders = true
        loop.readLater(self)
    }

    /// Behind the completions of a turn.
    final func finishRead() {
        isInReaders = false
        guard lifecycle.isActive else { return }
        readParked()
        if messagesRead > 0 { completeRead() } else if lifecycle.isActive, readPending { readMore() }
    }

    /// Ends a burst, and asks for the next.
    final func completeRead() {
        fireReadComplete()
        readIfNeeded()
    }

    /// Ends a burst.
    final func fireReadComplete() {
        messagesRead = 0
        if lifecycle.isActive { pipeline.syncOperations.fireChannelReadComplete() }
    }

    final func readIfNeeded() {
        if lifecycle.isActive, autoRead, !readPending { pipeline.syncOperations.read() }
    }

    func read0() {
        guard lifecycle.isOpen else { return }
        readPending = true
        if lifecycle.isActive { readMore() }
    }

    // MARK: Options

    final func setMessagesPerRead(_ max: UInt) {
        messagesPerReadMax = Swift.max(max, 1)
    }

    final var messagesPerRead: UInt { messagesPerReadMax }
    final var readsAutomatically: Bool { autoRead }

    final func setAutoRead(_ isOn: Bool) {
        let wasOn = autoRead
        autoRead = isOn
        guard isOn != wasOn, lifecycle.isRegistered else { return }
        if isOn { read0() } else { readPending = false }
    }
}
