import Glibc
import NIOCore
import Transport

/// A datagram socket (UDP or Unix-domain) as SwiftNIO's channel. It reads `AddressedEnvelope<ByteBuffer>`, and writes them, or
/// plain `ByteBuffer`s when it is connected.
///
/// Unchecked, as ``RingChannel``: what changes is touched on the loop's thread only.
final class RingDatagramChannel: RingChannel, @unchecked Sendable {
    /// Who has the socket.
    private enum Holder {
        /// This channel; nothing is in flight.
        case channel
        case datagram(DatagramSocket)
        /// Nobody: it is closed.
        case nobody
    }

    private let fd: Int32
    private var holder = Holder.channel
    let family: Int32

    /// Whom it is connected to.
    private(set) var peer: NIOCore.SocketAddress?
    /// What came while nobody had asked for it; what comes behind it is parked below.
    var parked: AddressedEnvelope<ByteBuffer>?
    let writes: UnsafeMutablePointer<PendingDatagrams>
    var settings = DatagramSettings()
    /// Why the socket below has dropped what it was handed.
    private(set) var dropReason: any Error = ChannelError.ioOnClosedChannel

    /// Takes over a datagram socket in blocking mode.
    init(_ loop: RingEventLoop, fd: Int32) {
        self.fd = fd
        family = CoreSocket.family(of: fd)
        writes = .allocate(capacity: 1)
        writes.initialize(to: PendingDatagrams())
        super.init(loop, isWritable: true)
        updateAddresses()
    }

    deinit {
        writes.deinitialize(count: 1)
        writes.deallocate()
    }

    override var descriptor: Int32 { fd }

    var datagram: DatagramSocket? {
        if case .datagram(let datagram) = holder { datagram } else { nil }
    }

    private func updateAddresses() {
        peer = CoreSocket.peerAddress(of: fd).map(NIOCore.SocketAddress.init)
        setAddresses(local: CoreSocket.localAddress(of: fd).map(NIOCore.SocketAddress.init), remote: peer)
    }

    // MARK: Life

    override func bind0(to address: NIOCore.SocketAddress, promise: EventLoopPromise<Void>?) {
        guard lifecycle.isOpen else { return fail(promise, ChannelError.ioOnClosedChannel) }
        guard lifecycle.isRegistered, !lifecycle.isActive else {
            return fail(promise, ChannelError.inappropriateOperationForState)
        }
        do throws(CoreError) {
            try CoreSocket.bind(fd, to: CoreAddress(address))
        } catch {
            return fail(promise, IOError(error))
        }
        updateAddresses()
        becomeActive0(promise: promise)
    }

    /// Connects, again or for the first time. What was flushed goes to the former peer; what was only written fails.
    override func connect0(to address: NIOCore.SocketAddress, promise: EventLoopPromise<Void>?) {
        guard lifecycle.isOpen else { return fail(promise, ChannelError.ioOnClosedChannel) }
        guard lifecycle.isRegistered else { return fail(promise, ChannelError.inappropriateOperationForState) }
        do throws(CoreError) {
            if let datagram {
                try datagram.connect(to: CoreAddress(address))
            } else {
                try CoreSocket.connectDatagram(fd, to: CoreAddress(address))
            }
        } catch {
            // As SwiftNIO's own channels.
            let error = IOError(error)
            close(error, nil)
            return fail(promise, error)
        }
        updateAddresses()
        dropReason = IOError(errnoCode: EISCONN, reason: "connected before the datagram was sent")
        writes.pointee.failWaiting(dropReason)
        if lifecycle.isActive { promise?.succeed(()) } else { becomeActive0(promise: promise) }
        told()
    }

    override func activating() {
        let datagram = DatagramSocket(self, fd: fd)
        holder = .datagram(datagram)
        datagram.start(reading: readsAutomatically || readPending)
    }

    override func activated() { handOver() }

    override func release() {
        switch holder {
        case .channel:
            Glibc.close(fd)
            holder = .nobody
            released()
        case .datagram(let datagram):
            datagram.close()
        case .nobody:
            released()
        }
    }

    override func failPending(_ error: any Error) {
        parked = nil
        dropReason = error
        writes.pointee.failWaiting(error)
        // Behind those that the socket has been handed, if it has: see `socketClosed`.
        tellPromises()
    }

    /// The kernel is done with the socket.
    func socketClosed(_ reason: CloseReason) {
        holder = .nobody
        guard lifecycle.isOpen else { return released() }
        let error = Self.error(reason)
        if error is IOError { pipeline.syncOperations.fireErrorCaught(error) }
        if lifecycle.isOpen { close(error, nil) }
    }

    private static func error(_ reason: CloseReason) -> any Error {
        switch reason {
        case .failed(let error): IOError(error)
        case .loopStopped: EventLoopError.shutdown
        default: ChannelError.eof
        }
    }

    /// The network says something of an earlier datagram, and the channel goes on.
    func socketFailed(_ error: SystemError) {
        if lifecycle.isActive { pipeline.syncOperations.fireErrorCaught(IOError(error)) }
    }

    // MARK: Writing

    override func write0(_ data: NIOAny, promise: EventLoopPromise<Void>?) { append(data, promise) }

    override func flush0() {
        guard lifecycle.isOpen else { return }
        writes.pointee.flush()
        handOver()
    }

    // MARK: Reading

    func received(_ bytes: RawSpan, _ header: DatagramHeader) {
        guard lifecycle.isActive else { return }
        let buffer = bytes.withUnsafeBytes { bytes in
            var buffer = bufferAllocator.buffer(capacity: bytes.count)
            buffer.writeBytes(bytes)
            return buffer
        }
        let envelope = AddressedEnvelope(
            remoteAddress: header.sender.map(NIOCore.SocketAddress.init) ?? Self.unnamed, data: buffer,
            metadata: settings.metadata(header))
        if mayRead, parked == nil { return fireRead(NIOAny(envelope)) }
        assert(parked == nil, "nothing comes while reading is paused")
        parked = envelope
        datagram?.pauseReading()
    }

    /// A Unix-domain sender that is bound to nothing.
    private static let unnamed = NIOCore.SocketAddress(CoreAddress.unix(path: ""))

    override func readMore() {
        if parked != nil { finishReadLater() } else { datagram?.resumeReading() }
    }

    override func readParked() {
        guard mayRead, let envelope = parked else { return }
        parked = nil
        fireRead(NIOAny(envelope))
    }

    // MARK: Options

    override func setOwnOption<Option: ChannelOption>(_ option: Option, _ value: Option.Value) throws -> Bool {
        try setDatagramOption(option, value)
    }

    override func getOwnOption<Option: ChannelOption>(_ option: Option) throws -> Option.Value? {
        try getDatagramOption(option)
    }
}
