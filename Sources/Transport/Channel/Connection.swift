import CSocket
import Glibc

/// Limits of a connection.
public struct ConnectionConfiguration: Sendable {
    /// Queued bytes above which ``Connection/isWritable`` turns false.
    public var highWaterMark = 64 * 1024
    /// Queued bytes at or below which it turns true again.
    public var lowWaterMark = 32 * 1024
    /// Queued bytes at which a writer that does not heed ``Connection/isWritable`` has its connection aborted.
    public var queuedBytesMax = 16 * 1024 * 1024
    /// Another process may hold a copy of the socket, so that close(2) alone would not end it: shut it down first.
    public var isShared = false

    /// The defaults: water marks 64 and 32 KiB, at most 16 MiB queued, not shared.
    public init() {}
}

/// Why a connection ended.
public enum CloseReason: Hashable, Sendable {
    /// Both sides sent their FIN.
    case finished
    /// ``Connection/close()`` was called.
    case closed
    /// ``Connection/abort()`` was called.
    case aborted
    /// The peer sent RST.
    case reset
    /// More than ``ConnectionConfiguration/queuedBytesMax`` was written.
    case writeQueueOverflow
    /// The loop stopped.
    case loopStopped
    /// The kernel reported another failure, such as ETIMEDOUT.
    case failed(SystemError)
}

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
    private let receivesMultishot: Bool

    /// Takes ownership of a connected socket in blocking mode. Call ``start(reading:)`` next.
    public init(_ loop: EventLoop, fd: Int32, configuration: ConnectionConfiguration = .init()) {
        precondition(fd >= 0 && configuration.lowWaterMark <= configuration.highWaterMark)
        self.configuration = configuration
        state = .allocate(capacity: 1)
        state.initialize(to: ConnectionState())
        receivesMultishot = Socket.family(of: fd) != AF_UNIX
        super.init(loop, fd: fd)
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

    /// The peer has sent FIN and all its bytes have been received. Unless overridden, the connection is finished too.
    open func inputEnded() {
        finishOutput()
    }

    /// The peer has sent FIN while reading is paused; bytes may still be waiting to be read. Once.
    open func inputEnding() {}

    /// ``isWritable`` is true again.
    open func becameWritable() {}

    /// All that was written has been taken by the kernel.
    open func flushed() {}

    /// The socket is closed; nothing else is called after this. Called once for each started connection.
    open func closed(_ reason: CloseReason) {}

    // MARK: What a service calls

    /// Registers with the loop, sends what was written before, and begins to read unless `reading` is false. Once;
    /// does nothing after ``close()``.
    public func start(reading: Bool = true) {
        guard !isClosing else { return }
        register()
        perform(reading ? state.pointee.read.resume() : state.pointee.read.pause())
        markDirty()
    }

    /// Queues `bytes` to be sent, in order, at the end of the loop's turn. Copies them.
    ///
    /// - Returns: false when the connection is closing or its output is finished: nothing was queued.
    @discardableResult
    public func write(_ bytes: RawSpan) -> Bool {
        bytes.withUnsafeBytes { write($0) }
    }

    /// Queues `bytes` to be sent, as ``write(_:)-(RawSpan)``.
    @discardableResult
    public func write(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard !isClosing, state.pointee.output == .open else { return false }
        guard bytes.count <= configuration.queuedBytesMax - state.pointee.queue.count else {
            close(.writeQueueOverflow, reset: true)
            return false
        }
        state.pointee.queue.append(bytes, from: loop.chunks)
        if state.pointee.queue.count > configuration.highWaterMark { state.pointee.isWritable = false }
        markDirty()
        return true
    }

    /// Sends FIN behind what is queued. The other direction stays open; when it ends too, the connection closes.
    public func finishOutput() {
        guard !isClosing, state.pointee.output == .open else { return }
        state.pointee.output = .finishing
        markDirty()
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
        guard !isClosing else { return }
        perform(state.pointee.read.resume())
        if !state.pointee.parked.isEmpty || state.pointee.inputEnd == .pending { markDirty() }
    }

    /// Ends the connection now: drops what is queued, and closes once the kernel is done with it.
    public func close() {
        close(.closed, reset: false)
    }

    /// As ``close()``, and a TCP peer gets RST instead of FIN, whoever else holds a copy of the socket.
    public func abort() {
        close(.aborted, reset: true)
    }

    /// False when so much is queued that a well-behaved writer waits for ``becameWritable()``.
    public var isWritable: Bool { state.pointee.isWritable }

    /// Bytes queued and not yet taken by the kernel.
    public var queuedBytes: Int { state.pointee.queue.count }

    /// Bytes received while reading was paused, waiting for ``resumeReading()``.
    public var parkedBytes: Int { state.pointee.parked.count }

    /// Whether ``received(_:)`` may be called.
    public var isReading: Bool { state.pointee.read.isWanted }

    /// Whether the peer's FIN has been told by ``inputEnded()``.
    public var isInputEnded: Bool { state.pointee.inputEnd == .told }

    /// Whether FIN has been asked for by ``finishOutput()``.
    public var isOutputFinished: Bool { state.pointee.output != .open }

    /// Bytes received so far.
    public var bytesReceived: UInt64 { state.pointee.bytesReceived }

    /// Bytes the kernel has taken so far.
    public var bytesSent: UInt64 { state.pointee.bytesSent }

    /// The peer's address (getpeername(2)), or nil when it is gone.
    public var peerAddress: SocketAddress? { Socket.peerAddress(of: fd) }

    /// The local address (getsockname(2)).
    public var localAddress: SocketAddress? { Socket.localAddress(of: fd) }

    // MARK: Closing

    private func close(_ reason: CloseReason, reset: Bool) {
        guard !isClosing else { return }
        state.pointee.closeReason = reason
        if reset { Socket.disconnect(fd) }
        let isStarted = registration != nil
        beginClosing()
        // Never started: nothing is in flight, nobody is to be told.
        if !isStarted { releaseSocket() }
    }

    private func fail(_ code: Int32, _ call: String) {
        close(code == ECONNRESET || code == EPIPE ? .reset : .failed(SystemError(call, code: code)), reset: false)
    }

    private func closeIfFinished() {
        if state.pointee.output == .finished, state.pointee.inputEnd == .told { close(.finished, reset: false) }
    }

    override func loopIsStopping() {
        close(.loopStopped, reset: false)
    }

    override func released() {
        super.released()
        releaseSocket()
        closed(state.pointee.closeReason)
    }

    private func releaseSocket() {
        if configuration.isShared { shutdown(fd, Int32(SHUT_RDWR)) }
        Glibc.close(fd)
        state.pointee.queue.removeAll(into: loop.chunks)
        state.pointee.parked.removeAll(into: loop.chunks)
    }

    // MARK: Completions

    override func completed(_ kind: OperationKind, _ completion: Completion) {
        switch kind {
        case .receive:
            receiveCompleted(completion)
        case .send:
            sendCompleted(completion.result)
        case .poll:
            pollCompleted(completion)
        case .cancelReceive:
            cancelReceiveCompleted(completion.result)
        case .cancelSend, .cancelPoll:
            cancellationCompleted()
        default:
            preconditionFailure("a connection does not \(kind)")
        }
    }

    @inline(__always)
    private func receiveCompleted(_ completion: Completion) {
        if completion.buffer != nil {
            let bytes = loop.receivedBytes(of: completion)
            if !bytes.isEmpty, !isClosing { deliver(bytes) }
            loop.releaseBytes(of: completion)
        }
        if !completion.hasMore, !isClosing { perform(state.pointee.read.ended(completion.result)) }
    }

    @inline(__always)
    private func deliver(_ bytes: UnsafeRawBufferPointer) {
        state.pointee.bytesReceived &+= UInt64(bytes.count)
        if state.pointee.read.isWanted, state.pointee.parked.isEmpty {
            received(bytes.bytes)
        } else {
            state.pointee.parked.append(bytes, from: loop.chunks)
            state.pointee.read.parked()
        }
    }

    private func perform(_ action: ReadState.Action) {
        switch action {
        case .none:
            break
        case .arm:
            state.pointee.cancelIsCurrent = false
            submit(.receive(fd: fd, multishot: receivesMultishot), .receive)
        case .cancel:
            cancelReceive()
        case .waitForBuffers:
            if let registration { loop.waitForReceiveBuffers(registration) }
        case .end:
            state.pointee.inputEnd = .pending
            if !state.pointee.read.isWanted {
                watchPeer()
                tellInputEnding()
            } else if state.pointee.parked.isEmpty {
                tellInputEnd()
            }
        case .watch:
            watchPeer()
        case .fail(let code):
            fail(code, "recv")
        }
    }

    /// Tells that FIN has come, if it has and nobody reads up to it.
    private func tellInputEnding() {
        guard !isClosing, !state.pointee.read.isWanted, !state.pointee.endingTold else { return }
        guard state.pointee.inputEnd == .unread || state.pointee.inputEnd == .pending else { return }
        state.pointee.endingTold = true
        inputEnding()
    }

    private func tellInputEnd() {
        state.pointee.inputEnd = .told
        inputEnded()
        closeIfFinished()
        // Nothing else would tell of a peer that resets the half that is left.
        if state.pointee.output == .open { watchPeer() }
    }

    private func cancelReceive() {
        guard isInFlight(.receive), !isInFlight(.cancelReceive) else { return }
        state.pointee.cancelIsCurrent = true
        cancel(.receive)
    }

    private func cancelReceiveCompleted(_ result: Int32) {
        if isClosing { return cancellationCompleted() }
        // 0 with the cancellation aimed at this receive: its terminal completion is on its way.
        if result == 0, state.pointee.cancelIsCurrent { return }
        if isInFlight(.receive) { perform(state.pointee.read.cancellationMissed()) }
    }

    override func receiveBuffersReturned() {
        if !isClosing { perform(state.pointee.read.buffersReturned()) }
    }

    // MARK: While reading is paused

    /// Without a receive in flight, while reading is paused or the input has ended, a poll tells of FIN and RST. It
    /// stays until the connection closes. Multishot, since io_uring reports POLLRDHUP like POLLERR, asked for or
    /// not: after FIN a new poll would complete at once instead of waiting for RST.
    private func watchPeer() {
        guard !isClosing, !isInFlight(.poll) else { return }
        submit(.poll(fd: fd, events: UInt32(CSOCKET_POLLRDHUP), multishot: true), .poll)
    }

    private func pollCompleted(_ completion: Completion) {
        guard !isClosing, completion.result > 0 else { return }
        let events = completion.result
        if events & Int32(POLLERR) != 0, let error = Socket.pendingError(of: fd) { return fail(error, "poll") }
        // Ended early, as by a full completion queue. With both directions shut there is nothing left to watch for.
        if !completion.hasMore, events & Int32(POLLHUP) == 0 { watchPeer() }
        if events & Int32(CSOCKET_POLLRDHUP) != 0, state.pointee.inputEnd == .notSeen {
            state.pointee.inputEnd = .unread
        }
        tellInputEnding()
    }

    // MARK: Sending

    @inline(__always)
    private func markDirty() {
        guard !state.pointee.isDirty, let registration else { return }
        state.pointee.isDirty = true
        loop.markDirty(registration)
    }

    override func flush() {
        state.pointee.isDirty = false
        guard !isClosing else { return }
        deliverParked()
        tellInputEnding()
        send()
    }

    /// Bytes that arrived while paused, before any newer ones; stops when the service pauses again.
    private func deliverParked() {
        guard state.pointee.read.hasParked || state.pointee.inputEnd == .pending else { return }
        while !isClosing, state.pointee.read.isWanted, !state.pointee.parked.isEmpty {
            let bytes = state.pointee.parked.front
            // Taken out before the call, since the service may pause, close or write in it.
            let chunk = state.pointee.parked.removeFront()
            received(bytes.bytes)
            loop.chunks.give(chunk)
        }
        guard !isClosing else { return }
        if state.pointee.parked.isEmpty { perform(state.pointee.read.unparked()) }
        if state.pointee.read.isWanted, state.pointee.inputEnd == .pending { tellInputEnd() }
    }

    private func send() {
        guard !isClosing, !state.pointee.sendInFlight else { return }
        if state.pointee.queue.isEmpty {
            if state.pointee.output == .finishing {
                state.pointee.output = .finished
                // Fails only when the peer's RST came first, which the receive or the poll tells.
                shutdown(fd, Int32(SHUT_WR))
                closeIfFinished()
            }
            return
        }
        state.pointee.sendInFlight = true
        if state.pointee.queue.isContiguous {
            let front = state.pointee.queue.front
            submit(.send(fd: fd, bytes: front.baseAddress!, count: UInt32(front.count)), .send)
        } else {
            submit(.sendMessage(fd: fd, message: state.pointee.gatherMessage()), .send)
        }
    }

    @inline(__always)
    private func sendCompleted(_ result: Int32) {
        state.pointee.sendInFlight = false
        guard !isClosing else { return }
        guard result > 0 else {
            if result == -EAGAIN || result == -EINTR { return send() }
            return fail(result == 0 ? EPIPE : -result, "send")
        }
        state.pointee.queue.consume(Int(result), into: loop.chunks)
        state.pointee.bytesSent &+= UInt64(result)
        if !state.pointee.isWritable, state.pointee.queue.count <= configuration.lowWaterMark {
            state.pointee.isWritable = true
            becameWritable()
        }
        if state.pointee.queue.isEmpty, !isClosing { flushed() }
        send()
    }
}
