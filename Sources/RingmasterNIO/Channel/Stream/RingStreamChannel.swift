import Glibc
import NIOCore

/// A stream socket (TCP or Unix-domain) as SwiftNIO's channel: accepted, handed over, or to be connected.
///
/// Unchecked: what changes is touched on the loop's thread only.
final class RingStreamChannel: RingChannel, @unchecked Sendable {
    /// Who has the socket.
    enum Holder {
        /// This channel; nothing is in flight.
        case channel
        /// An attempt to connect; nil when it has failed and is about to say so.
        case connector(CoreConnector?)
        case connection(StreamConnection)
        /// A connection that is on its way to another owner; called if it breaks.
        case leaving(() -> Void)
        /// Nobody: it is closed.
        case nobody
    }

    private let fd: Int32
    private let isShared: Bool
    let origin: ConnectionOrigin?
    /// It was to leave for another worker, and nobody would have it: the next pass is for others.
    var isRefused: Bool
    var holder = Holder.channel
    private var connectPromise: EventLoopPromise<Void>?
    private var connectTimeout: TimeAmount? = .seconds(10)
    private var closeError: (any Error)?
    /// The turn in which it became active.
    private(set) var activeSince: CoreTime?

    // Of reading.
    var allowsRemoteHalfClosure = false
    var isInputClosed = false
    /// Bytes that came while nobody had asked for them.
    var parked: ByteBuffer
    /// The peer has finished: what it sent is told whether asked for or not, as SwiftNIO's own channels do.
    var drainsInput = false
    var receiveAllocator: (any RecvByteBufferAllocator)?

    // Of writing.
    let writes: UnsafeMutablePointer<PendingWrites>
    var output = OutputClosing.open

    /// Takes over a stream socket in blocking mode, connected or to be connected.
    convenience init(_ loop: RingEventLoop, fd: Int32) {
        self.init(loop, RingListenerChannel.Accepted(fd: fd), parent: nil)
    }

    /// Takes over a connected socket.
    init(_ loop: RingEventLoop, _ accepted: RingListenerChannel.Accepted, parent: (any NIOCore.Channel)?) {
        fd = accepted.fd
        isShared = accepted.isShared
        origin = accepted.origin
        isRefused = accepted.isRefused
        parked = accepted.unread
        writes = .allocate(capacity: 1)
        writes.initialize(to: PendingWrites())
        super.init(loop, parent: parent, isWritable: true)
        updateAddresses()
    }

    deinit {
        writes.deinitialize(count: 1)
        writes.deallocate()
    }

    override var descriptor: Int32 { fd }

    var connection: StreamConnection? {
        if case .connection(let connection) = holder { connection } else { nil }
    }

    private func updateAddresses() {
        setAddresses(
            local: CoreSocket.localAddress(of: fd).map(NIOCore.SocketAddress.init),
            remote: CoreSocket.peerAddress(of: fd).map(NIOCore.SocketAddress.init))
    }

    // MARK: Connecting

    func setConnectTimeout(_ timeout: TimeAmount?) { connectTimeout = timeout }

    override func bind0(to address: NIOCore.SocketAddress, promise: EventLoopPromise<Void>?) {
        guard lifecycle.isOpen else { return fail(promise, ChannelError.ioOnClosedChannel) }
        do throws(CoreError) {
            try CoreSocket.bind(fd, to: CoreAddress(address))
            updateAddresses()
            promise?.succeed(())
        } catch {
            promise?.fail(IOError(error))
        }
    }

    override func connect0(to address: NIOCore.SocketAddress, promise: EventLoopPromise<Void>?) {
        guard lifecycle.isOpen else { return fail(promise, ChannelError.ioOnClosedChannel) }
        guard lifecycle.isRegistered else { return fail(promise, ChannelError.inappropriateOperationForState) }
        switch holder {
        case .connector, .leaving, .nobody:
            return fail(promise, ChannelError.connectPending)
        case .connection:
            connectPromise = promise
            return close(IOError(errnoCode: EISCONN, reason: "connect"), nil)
        case .channel:
            break
        }
        connectPromise = promise
        let timeout = connectTimeout.map { Duration.nanoseconds($0.nanoseconds) } ?? .seconds(Int64.max)
        holder = .connector(nil)
        let connector = CoreConnector.connect(loop.core, socket: fd, to: CoreAddress(address), timeout: timeout) {
            self.connected($0)
        }
        holder = .connector(connector)
    }

    private func connected(_ result: Result<CoreConnectedSocket, CoreConnectError>) {
        guard lifecycle.isOpen else {
            // Closed meanwhile; the attempt may have succeeded all the same.
            if case .success = result { Glibc.close(fd) }
            holder = .nobody
            return released()
        }
        switch result {
        case .success:
            holder = .channel
            updateAddresses()
            let promise = connectPromise
            connectPromise = nil
            becomeActive0(promise: promise)
        case .failure(let error):
            holder = .nobody
            close(connectError(error), nil)
        }
    }

    private func connectError(_ error: CoreConnectError) -> any Error {
        switch error {
        case .timedOut: ChannelError.connectTimeout(connectTimeout ?? .zero)
        case .cancelled: ChannelError.ioOnClosedChannel
        case .failed(let error): IOError(error)
        }
    }

    override func activating() {
        let connection = StreamConnection(self, fd: fd, isShared: isShared)
        holder = .connection(connection)
        activeSince = loop.core.turnTime
        connection.start(reading: readsAutomatically || readPending)
    }

    override func activated() { handOverFlushed() }

    // MARK: Reading and writing

    override func readMore() { askForMore() }

    override func readParked() { giveParked() }

    override func write0(_ data: NIOAny, promise: EventLoopPromise<Void>?) { append(data, promise) }

    override func flush0() {
        guard lifecycle.isOpen else { return }
        writes.pointee.flush()
        handOverFlushed()
    }

    // MARK: Closing

    /// Its loop has ended before it could begin: closes the socket. Its memory is lost, since a pipeline is taken apart on its
    /// loop only. Any thread, while nobody else knows of the channel.
    func discard() {
        guard case .channel = holder else { preconditionFailure("the channel has begun") }
        neverBegins()
        holder = .nobody
        if isShared { shutdown(fd, Int32(SHUT_RDWR)) }
        Glibc.close(fd)
    }

    override func close0(error: any Error, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        guard lifecycle.isOpen else { return fail(promise, ChannelError.alreadyClosed) }
        switch mode {
        case .output: closeOutput(error, promise)
        case .input: closeInput(error, promise)
        case .all: close(error, promise)
        }
    }

    private func closeInput(_ error: any Error, _ promise: EventLoopPromise<Void>?) {
        guard !isInputClosed else { return fail(promise, ChannelError.inputClosed) }
        if case .closed = output { return close(error, promise) }
        guard let connection else { return fail(promise, IOError(errnoCode: ENOTCONN, reason: "shutdown")) }
        isInputClosed = true
        readPending = false
        parked = ByteBuffer()
        // Does nothing after the peer's FIN.
        connection.finishInput()
        promise?.succeed(())
        guard lifecycle.isOpen else { return }
        pipeline.syncOperations.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
    }

    override func release() {
        switch holder {
        case .channel:
            if isShared { shutdown(fd, Int32(SHUT_RDWR)) }
            Glibc.close(fd)
            holder = .nobody
            released()
        case .connector(let connector):
            connector?.cancel()
        case .connection(let connection):
            handOverLast()
            // As SwiftNIO's own channels, which have tried to send at the flush.
            connection.closeSendingQueued()
        case .leaving:
            break
        case .nobody:
            released()
        }
    }

    override func failPending(_ error: any Error) {
        closeError = error
        let connecting = connectPromise
        connectPromise = nil
        if let connection { progress(connection) }
        keepPromises()
        // What the connection was handed may still be sent, and none is told before one that was made earlier.
        if connection == nil || writes.pointee.isAllSent { failWrites(error) }
        failOutputClosing(error)
        connecting?.fail(error)
    }

    private func failWrites(_ error: any Error) {
        for promise in writes.pointee.dropAll() { promise.fail(error) }
    }

    /// The kernel is done with the socket.
    func connectionClosed(_ reason: CoreCloseReason) {
        if case .leaving(let broken) = holder { return broken() }
        if let connection { progress(connection) }
        holder = .nobody
        guard lifecycle.isOpen else {
            keepPromises()
            failWrites(closeError ?? ChannelError.ioOnClosedChannel)
            return released()
        }
        if parked.readableBytes > 0 {
            drainParked()
            fireReadComplete()
        }
        guard lifecycle.isOpen else { return }
        let error = Self.error(reason)
        if error is IOError { pipeline.syncOperations.fireErrorCaught(error) }
        if lifecycle.isOpen { close(error, nil) }
    }

    private static func error(_ reason: CoreCloseReason) -> any Error {
        switch reason {
        case .finished, .closed, .aborted, .writeQueueOverflow: ChannelError.eof
        case .reset: IOError(errnoCode: ECONNRESET, reason: "connection reset")
        case .fileTooShort: IOError(errnoCode: EIO, reason: "sendfile: the file is shorter than its region")
        case .loopStopped: EventLoopError.shutdown
        case .failed(let error): IOError(error)
        }
    }

    // MARK: Options

    override func setOwnOption<Option: ChannelOption>(_ option: Option, _ value: Option.Value) throws -> Bool {
        switch (option, value) {
        case (is ChannelOptions.Types.AllowRemoteHalfClosureOption, let value as Bool):
            allowsRemoteHalfClosure = value
        case (
            is ChannelOptions.Types.WriteBufferWaterMarkOption, let value as ChannelOptions.Types.WriteBufferWaterMark
        ):
            writes.pointee.marks = value
        case (is ChannelOptions.Types.ConnectTimeoutOption, let value as TimeAmount?):
            connectTimeout = value
        case (is ChannelOptions.Types.RecvAllocatorOption, let value as any RecvByteBufferAllocator):
            receiveAllocator = value
        case (is ChannelOptions.Types.WriteSpinOption, _):
            // Nothing here tries a write again in the same turn.
            break
        default:
            return false
        }
        return true
    }

    override func getOwnOption<Option: ChannelOption>(_ option: Option) throws -> Option.Value? {
        switch option {
        case is ChannelOptions.Types.AllowRemoteHalfClosureOption: allowsRemoteHalfClosure as? Option.Value
        case is ChannelOptions.Types.WriteBufferWaterMarkOption: writes.pointee.marks as? Option.Value
        case is ChannelOptions.Types.BufferedWritableBytesOption: writes.pointee.bufferedBytes as? Option.Value
        case is ChannelOptions.Types.ConnectTimeoutOption: connectTimeout as? Option.Value
        case is ChannelOptions.Types.RecvAllocatorOption:
            (receiveAllocator ?? AdaptiveRecvByteBufferAllocator()) as? Option.Value
        case is ChannelOptions.Types.WriteSpinOption: UInt(0) as? Option.Value
        default: nil
        }
    }
}
