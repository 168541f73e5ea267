import Glibc

/// A connected stream socket (TCP or Unix-domain). Subclass it and override what you want to know of.
///
/// Loop thread only. No method calls back into the connection before it returns, but for ``closed(_:)`` being
/// certain to follow every ``close()``, once, when the kernel is done with the socket.
open class Connection: Channel {
    /// The limits it was made with.
    public let configuration: ConnectionConfiguration
    let state: UnsafeMutablePointer<ConnectionState>
    /// Not on a Unix-domain socket: since Linux 6.17 a multishot receive loses the end of file there when it came
    /// together with the last bytes (liburing issue 1549), and waits for ever.
    var receivesMultishot: Bool { !isUnixDomain }
    let isUnixDomain: Bool

    /// Takes ownership of a connected socket in blocking mode. Call ``start(reading:)`` next.
    public init(_ loop: EventLoop, fd: Int32, configuration: ConnectionConfiguration = .init()) {
        precondition(fd >= 0 && configuration.lowWaterMark <= configuration.highWaterMark)
        self.configuration = configuration
        isUnixDomain = Socket.family(of: fd) == AF_UNIX
        state = .allocate(capacity: 1)
        state.initialize(to: ConnectionState(configuration, isUnixDomain: isUnixDomain))
        super.init(loop, fd: fd)
    }

    /// Goes on with a connection that ``detach(_:)`` has let go of, in this process or another: tells what is unread
    /// before any newer bytes, and sends what is unsent before anything written. It counts bytes and events anew, and
    /// goes by its own configuration. Call ``start(reading:)`` next.
    public init(
        _ loop: EventLoop, _ detached: consuming DetachedConnection, configuration: ConnectionConfiguration = .init()
    ) {
        precondition(configuration.lowWaterMark <= configuration.highWaterMark)
        self.configuration = configuration
        isUnixDomain = detached.isUnixDomain
        state = .allocate(capacity: 1)
        state.initialize(to: ConnectionState(configuration, isUnixDomain: isUnixDomain))
        let remainder = detached.remainder
        super.init(loop, fd: detached.takeDescriptor())
        restore(remainder)
    }

    deinit {
        // Else it was never started: only `released()` lets go of one that was.
        if !isClosing { releaseSocket() }
        state.pointee.gather?.deallocate()
        state.deinitialize(count: 1)
        state.deallocate()
    }

    // MARK: What a service overrides

    /// Bytes have arrived. They are valid during the call only; never called while reading is paused.
    open func received(_ bytes: RawSpan) {}

    /// Bytes have arrived with these descriptors, or with none: called in place of ``received(_:)`` on a connection that
    /// ``ConnectionConfiguration/receivesDescriptors``. Descriptors come no later than the bytes they were sent with, and
    /// those sent in two messages never come in one call. Unless overridden, they are closed, and the bytes told by ``received(_:)``.
    open func received(_ bytes: RawSpan, descriptors: consuming ReceivedDescriptors) {
        received(bytes)
    }

    /// That many bytes, received, are queued at another connection, as ``splice(to:)`` asked for. More than none; never called
    /// while reading is paused.
    open func spliced(_ count: Int) {}

    /// The peer has sent FIN and all its bytes have been received. Unless overridden, the connection is finished too.
    open func inputEnded() {
        finishOutput()
    }

    /// The peer has sent FIN while reading is paused; bytes may still be waiting to be read. Once.
    open func inputEnding() {}

    /// ``isWritable`` is true again.
    open func becameWritable() {}

    /// The kernel has taken some of what was written, as ``bytesSent`` tells. Comes before ``becameWritable()`` and
    /// ``flushed()``, if they come.
    open func progressed() {}

    /// All that was written has been taken by the kernel.
    open func flushed() {}

    /// FIN has been sent, as ``finishOutput()`` asked for, behind all that was written; or it is at the end of this turn, by
    /// close(2), when the input has ended too.
    open func outputFinished() {}

    /// The socket is closed; nothing else is called after this. Called once for each started connection.
    open func closed(_ reason: CloseReason) {}

    // MARK: What a service calls

    /// Registers with the loop, sends what was written before, and begins to read unless `reading` is false. Once;
    /// does nothing after ``close()``.
    public func start(reading: Bool = true) {
        guard !isClosing else { return }
        register()
        perform(reading ? state.pointee.read.resume() : state.pointee.read.pause())
        if isInputEnded { startEnded() }
        markDirty()
    }

    /// Sends FIN behind what is queued. The other direction stays open; when it ends too, the connection closes.
    public func finishOutput() {
        guard !isClosing, state.pointee.output == .open else { return }
        state.pointee.output = .finishing
        markDirty()
    }

    /// Receives nothing any more (SHUT_RD, shutdown(2)): bytes that are parked or on their way are dropped, and
    /// ``inputEnded()`` is not called. The other direction stays open; when it ends too, the connection closes.
    public func finishInput() {
        guard !isClosing, state.pointee.inputEnd != .told else { return }
        perform(state.pointee.read.finish())
        state.pointee.parked.removeAll(into: loop.chunks)
        state.pointee.inputEnd = .told
        shutdown(fd, Int32(SHUT_RD))
        closeIfFinished()
        watchPeer()
    }

    /// Stops ``received(_:)`` at once. Bytes already on their way are parked: at most what the receive buffers hold,
    /// however often reading is paused and resumed.
    public func pauseReading() {
        guard !isClosing else { return }
        perform(state.pointee.read.pause())
        // FIN may be known already; it is told by itself, not from within this call.
        if state.pointee.inputEnd != .notSeen { markDirty() }
    }

    /// Goes on receiving, parked bytes first.
    public func resumeReading() {
        guard !isClosing, state.pointee.inputEnd != .told else { return }
        perform(state.pointee.read.resume())
        if !state.pointee.parked.isEmpty || state.pointee.inputEnd == .pending { markDirty() }
    }

    /// Ends the connection now: drops what is queued, and closes once the kernel is done with it.
    public func close() {
        close(.closed, reset: false)
    }

    /// As ``close()``, but what is queued is sent first, as far as the socket has room for it now: 4 MiB at most, and nothing
    /// from the first descriptors on.
    public func closeSendingQueued() {
        guard !isClosing || isDetaching else { return }
        state.pointee.sendsQueued = true
        if !isClosing, state.pointee.sending == .idle { sendWithoutWaiting() }
        close()
    }

    /// As ``close()``, and a TCP peer gets RST instead of FIN, whoever else holds a copy of the socket.
    public func abort() {
        close(.aborted, reset: true)
    }

    // MARK: Closing

    func close(_ reason: CloseReason, reset: Bool) {
        guard !isClosing else { return abandonDetaching(reason, reset: reset) }
        state.pointee.closeReason = reason
        if reset { Socket.disconnect(fd) }
        let isStarted = registration != nil
        beginClosing()
        // Never started: nothing is in flight, nobody is to be told.
        if !isStarted { releaseSocket() }
    }

    func fail(_ code: Int32, _ call: String) {
        close(code == ECONNRESET || code == EPIPE ? .reset : .failed(SystemError(call, code: code)), reset: false)
    }

    func closeIfFinished() {
        // Closing already, it may be detaching: that both directions have ended is then the next owner's to find.
        guard !isClosing, state.pointee.output == .finished, state.pointee.inputEnd == .told else { return }
        close(.finished, reset: false)
    }

    override func loopIsStopping() {
        close(.loopStopped, reset: false)
    }

    override func released() {
        super.released()
        endSplicing()
        if handOver() { return }
        if state.pointee.sendsQueued { sendWithoutWaiting() }
        releaseSocket()
        closed(state.pointee.closeReason)
    }

    /// Whether another process may hold a copy of the socket.
    var isShared: Bool { configuration.isShared && configuration.sharedCopy?.isGone != true }

    private func releaseSocket() {
        // With both directions ended already there is nothing left that a copy elsewhere would keep open.
        if state.pointee.closeReason != .finished, isShared { shutdown(fd, Int32(SHUT_RDWR)) }
        Glibc.close(fd)
        let dropped = state.pointee.queue.removeAll(into: loop.chunks)
        state.pointee.parked.removeAll(into: loop.chunks)
        for case .spliced(let pipe, _) in dropped { loop.splicePipeDropped(pipe) }
        // Last, since the owners of uncopied memory are told by it.
        _ = consume dropped
    }

    // MARK: What the loop calls

    override func receiveCompleted(_ completion: Completion) {
        receiveEnded(completion)
    }

    override func sendCompleted(_ completion: Completion) {
        sendEnded(completion.result)
    }

    override func completed(_ kind: OperationKind, _ completion: Completion) {
        switch kind {
        case .poll:
            pollCompleted(completion)
        case .pollRead:
            inputReady(completion.result)
        case .cancelReceive, .cancelPollRead:
            cancelReceiveCompleted(completion.result)
        case .pollWrite:
            roomCompleted(completion)
        case .zeroCopySend0, .zeroCopySend1, .zeroCopySend2, .zeroCopySend3:
            zeroCopyCompleted(kind, completion)
        case .cancelPollWrite:
            roomCancelled()
        case .cancelSend, .cancelPoll, .cancelZeroCopySend0, .cancelZeroCopySend1,
            .cancelZeroCopySend2, .cancelZeroCopySend3:
            cancellationCompleted()
        default:
            preconditionFailure("a connection does not \(kind)")
        }
    }

    override func receiveBuffersReturned() {
        if !isClosing { perform(state.pointee.read.buffersReturned()) }
    }

    override func goOn() { nextTurnBegun() }

    override func flush() {
        state.pointee.isDirty = false
        guard !isClosing else { return }
        if state.pointee.read.hasParked || state.pointee.inputEnd != .notSeen {
            deliverParked()
            tellInputEnding()
        }
        send()
    }
}
