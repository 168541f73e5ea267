import CSocket
import Glibc

/// A datagram socket: UDP over IPv4 or IPv6, or Unix-domain. Subclass it and override what you want to know of.
///
/// Make the socket with ``Socket/datagram(boundTo:reuseAddress:reusePort:isV6Only:)``. It may be connected to a peer or
/// not. Loop thread only. No method calls back into the channel before it returns, but for ``closed(_:)`` being certain
/// to follow every ``close()``, once, when the kernel is done with the socket.
open class Datagram: Channel {
    /// The limits it was made with.
    public let configuration: DatagramConfiguration
    let state: UnsafeMutablePointer<DatagramState>
    let family: Int32
    /// The path it is bound to, which goes when the socket does.
    private let unixPath: String?

    /// Room for one control message with an int: the size of the joined datagrams. None on a Unix-domain socket,
    /// where a peer could otherwise put descriptors into this process.
    private static let joinedControlRoom = 24
    /// Room for that, for another with an int (the traffic class), and for one of 20 bytes (`in6_pktinfo`).
    private static let fullControlRoom = 24 + 24 + 40

    /// How long nothing is received when the kernel had no memory for it.
    public static let shortagePause: Duration = .milliseconds(50)
    /// Made when memory was short for the first time.
    private var restTimer: LoopTimer?

    /// Takes ownership of a datagram socket in blocking mode. Call ``start(reading:)`` next.
    ///
    /// - Precondition: the loop's receive buffers have room for more than a datagram's head, and for 65,535 bytes more
    ///   where received datagrams are to be joined.
    public init(_ loop: EventLoop, fd: Int32, configuration: DatagramConfiguration = .init()) {
        precondition(fd >= 0 && configuration.queuedBytesMax > 0)
        self.configuration = configuration
        family = Socket.family(of: fd)
        // Multiples of 8 at least as large as the family's addresses.
        let nameRoom = family == AF_UNIX ? 112 : 32
        let joins = configuration.joinsReceived && family != AF_UNIX
        let controlRoom = Self.controlRoom(configuration, family)
        state = .allocate(capacity: 1)
        state.initialize(to: DatagramState(nameRoom: nameRoom, controlRoom: controlRoom))
        let room = loop.receiveBufferSize - ReceivedMessage.headerSize - nameRoom - controlRoom
        precondition(room > 0, "the receive buffers are too small for datagrams")
        precondition(!joins || room >= Int(UInt16.max), "the receive buffers are too small for joined datagrams")
        receiveSizeMax = room
        // Where the kernel cannot, datagrams come one by one: no harm.
        if joins { _ = Socket.set(fd, Int32(IPPROTO_UDP), Int32(CSOCKET_UDP_GRO), 1) }
        unixPath = configuration.removesPath ? Socket.boundPath(of: fd) : nil
        super.init(loop, fd: fd)
    }

    /// Whether the loop's receive buffers hold whatever the kernel may join (``SocketOption/joinsReceived``), beside a head
    /// with all that can be told.
    package static func fitsJoined(_ loop: EventLoop) -> Bool {
        loop.receiveBufferSize >= ReceivedMessage.headerSize + 32 + fullControlRoom + Int(UInt16.max)
    }

    private static func controlRoom(_ configuration: DatagramConfiguration, _ family: Int32) -> Int {
        if family == AF_UNIX { return 0 }
        if configuration.receivesControl { return fullControlRoom }
        return configuration.joinsReceived ? joinedControlRoom : 0
    }

    deinit {
        // Else it was never started: only `released()` lets go of one that was.
        if !isClosing { releaseSocket() }
        state.deinitialize(count: 1)
        state.deallocate()
    }

    // MARK: What a service overrides

    /// A datagram has arrived; an empty one has no bytes. They are valid during the call only; never called while
    /// reading is paused.
    open func received(_ bytes: RawSpan, _ header: DatagramHeader) {}

    /// The kernel reported an error, and the channel goes on: an earlier datagram of a connected socket met no
    /// receiver (ECONNREFUSED, EHOSTUNREACH, …), memory was short (ENOMEM; nothing is received for ``shortagePause`` then), or,
    /// unless ``settled(_:_:)`` is overridden, a queued one could not be sent and was dropped.
    open func failed(_ error: SystemError) {}

    /// The oldest `count` sends of which this was not told yet are over, each with this outcome. Every send that was
    /// queued is told of once, in order, and before ``closed(_:)``. Does nothing but tell ``failed(_:)``, unless closing.
    open func settled(_ count: Int, _ outcome: DatagramOutcome) {
        if case .failed(let error) = outcome, !isClosing { failed(error) }
    }

    /// After a refused send: all that was queued has been sent or dropped.
    open func becameWritable() {}

    /// The socket is closed; nothing else is called after this. Called once for each started channel.
    open func closed(_ reason: CloseReason) {}

    // MARK: What a service calls

    /// Registers with the loop, sends what was queued before, and begins to receive unless `reading` is false. Once;
    /// does nothing after ``close()``.
    public func start(reading: Bool = true) {
        guard !isClosing else { return }
        register()
        perform(reading ? state.pointee.read.resume() : state.pointee.read.pause())
        markDirty()
    }

    /// Stops ``received(_:_:)`` at once. Datagrams already on their way are parked, at most what the receive buffers
    /// hold; newer ones wait in the kernel, which drops them when its buffer (SO_RCVBUF) is full.
    public func pauseReading() {
        guard !isClosing else { return }
        perform(state.pointee.read.pause())
    }

    /// Goes on receiving, parked datagrams first.
    public func resumeReading() {
        guard !isClosing else { return }
        perform(state.pointee.read.resume())
        if !state.pointee.parked.isEmpty { markDirty() }
    }

    /// Sends what the socket has room for now, drops what is left in the queue, and closes once the kernel is done with
    /// the socket. A Unix-domain path that it is bound to is removed (``DatagramConfiguration/removesPath``).
    public func close() {
        close(.closed)
    }

    /// The longest payload received whole, in bytes: a receive buffer less the head of a datagram.
    public let receiveSizeMax: Int

    /// Whether ``received(_:_:)`` may be called.
    public var isReading: Bool { state.pointee.read.isWanted }

    /// What it has counted.
    public var statistics: DatagramStatistics { state.pointee.statistics }

    /// The address it is bound to (getsockname(2)); of a Unix-domain socket bound to nothing, an empty path; nil when closed.
    public var localAddress: SocketAddress? { isReleased ? nil : Socket.localAddress(of: fd) }

    /// The peer it is connected to (getpeername(2)), or nil when it is not.
    public var peerAddress: SocketAddress? { isReleased ? nil : Socket.peerAddress(of: fd) }

    // MARK: Closing

    func close(_ reason: CloseReason) {
        guard !isClosing else { return }
        state.pointee.closeReason = reason
        let isStarted = registration != nil
        if isStarted { sendOrDropQueue() }
        beginClosing()
        // Never started: nothing is in flight, nobody is to be told.
        if !isStarted { releaseSocket() }
    }

    override func loopIsStopping() {
        close(.loopStopped)
    }

    override func released() {
        super.released()
        restTimer?.cancel()
        releaseSocket()
        tellSettled()
        closed(state.pointee.closeReason)
    }

    private func releaseSocket() {
        if let unixPath { unlink(unixPath) }
        Glibc.close(fd)
        state.pointee.parked.removeAll()
        state.pointee.queue.removeAll()
    }

    // MARK: Completions

    override func completed(_ kind: OperationKind, _ completion: Completion) {
        switch kind {
        case .pollWrite:
            if !isClosing { roomConfirmed() }
        case .cancelReceive:
            cancelReceiveCompleted(completion.result)
        case .cancelPollWrite:
            cancellationCompleted()
        default:
            preconditionFailure("a datagram channel does not \(kind)")
        }
    }

    override func receiveCompleted(_ completion: Completion) {
        if completion.buffer != nil {
            if !isClosing { deliver(loop.receivedBytes(of: completion)) }
            loop.releaseBytes(of: completion)
        }
        guard !completion.hasMore, !isClosing else { return }
        guard completion.result < 0, Self.isTransient(-completion.result) else {
            return perform(state.pointee.read.ended(completion.result))
        }
        // It says what became of a datagram, or that memory was short for one, not that there will be no others.
        failed(SystemError("recvmsg", code: completion.result))
        guard !isClosing else { return }
        if completion.result == -ENOMEM { rest() } else { perform(state.pointee.read.ended(-EAGAIN)) }
    }

    /// Asked again at once, the kernel would be as short of memory. Until then the receive counts as one in flight.
    private func rest() {
        let timer =
            restTimer
            ?? LoopTimer(loop) { [unowned self] in
                if !isClosing { perform(state.pointee.read.ended(-EAGAIN)) }
            }
        restTimer = timer
        timer.arm(after: Self.shortagePause)
    }

    /// Errors that tell of one datagram: what ICMP says (icmp(7), ipv6(7)), a Unix-domain peer that has gone, memory that is
    /// short for now.
    private static func isTransient(_ code: Int32) -> Bool {
        switch code {
        case ECONNREFUSED, ECONNRESET, EHOSTUNREACH, ENETUNREACH, EHOSTDOWN, ENETDOWN, ENONET, EMSGSIZE, EPROTO,
            ENOPROTOOPT, EOPNOTSUPP, EACCES, EPERM, ETIMEDOUT, ENOMEM:
            true
        default: false
        }
    }

    @inline(__always)
    private func deliver(_ bytes: UnsafeRawBufferPointer) {
        if state.pointee.read.isWanted, state.pointee.parked.isEmpty {
            tell(state.pointee.message(bytes))
        } else {
            state.pointee.parked.append(bytes)
            state.pointee.read.parked()
        }
    }

    @inline(__always)
    private func tell(_ message: ReceivedMessage) {
        state.pointee.statistics.received &+= 1
        state.pointee.statistics.receivedBytes &+= UInt64(message.payload.count)
        if message.isTruncated { state.pointee.statistics.truncated &+= 1 }
        received(message.payload.bytes, message.header)
    }

    private func perform(_ action: ReadState.Action) {
        switch action {
        case .none, .watch:
            break
        case .arm:
            state.pointee.cancelIsCurrent = false
            submit(.receiveMessages(fd: fd, message: UnsafePointer(state.pointee.receiveMessage)), .receive)
        case .cancel:
            guard isInFlight(.receive), !isInFlight(.cancelReceive) else { return }
            state.pointee.cancelIsCurrent = true
            cancel(.receive)
        case .waitForBuffers:
            if let registration { loop.waitForReceiveBuffers(registration) }
        case .end:
            // Each datagram has a head: only a socket that another process has shut down says this.
            close(.failed(SystemError("recvmsg", code: ESHUTDOWN)))
        case .fail(let code):
            close(.failed(SystemError("recvmsg", code: code)))
        }
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

    // MARK: The end of a turn

    @inline(__always)
    func markDirty() {
        guard !state.pointee.isDirty, let registration else { return }
        state.pointee.isDirty = true
        loop.markDirty(registration)
    }

    override func flush() {
        state.pointee.isDirty = false
        guard !isClosing else { return }
        tellSettled()
        if !isClosing { deliverParked() }
        if !isClosing, state.pointee.output != .waiting { sendQueue() }
    }

    /// Datagrams that arrived while paused, before any newer ones; stops when the service pauses again.
    private func deliverParked() {
        guard state.pointee.read.hasParked else { return }
        while !isClosing, state.pointee.read.isWanted, !state.pointee.parked.isEmpty {
            // Nothing is parked during the call: completions are not dispatched here.
            tell(state.pointee.message(state.pointee.parked.first))
            state.pointee.parked.removeFirst()
        }
        if !isClosing, state.pointee.parked.isEmpty { perform(state.pointee.read.unparked()) }
    }
}
