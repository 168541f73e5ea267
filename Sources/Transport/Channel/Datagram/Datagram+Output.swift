import CSocket
import Glibc

/// Sending: a queue, which plain non-blocking calls empty at the end of the loop's turn, many datagrams at a time.
extension Datagram {
    /// Calls in a turn, of up to 64 datagrams each; then other channels have their turn.
    private static let callsPerTurnMax = 16
    /// Segments that every kernel with UDP_SEGMENT splits a send into (UDP_MAX_SEGMENTS).
    private static let segmentsMax = 64
    /// The longest payload of a UDP datagram over IPv4, before it is split too: 65,535 less the heads.
    private static let payloadMax = 65_507

    /// Queues a datagram to be sent at the end of the loop's turn, in order. Copies it.
    ///
    /// What has become of it is told by ``settled(_:_:)``. On a Unix-domain socket that is not
    /// connected to it, a receiver whose queue is full loses the datagram (EAGAIN): the kernel tells nobody when there
    /// is room again. Connected, the queue here waits for it.
    ///
    /// - Parameters:
    ///   - address: where to; nil for the connected peer.
    ///   - segmentSize: send `bytes` as datagrams of this many bytes (1 to 65,535), the last perhaps shorter. The
    ///     kernel splits them (UDP_SEGMENT, Linux 4.18) where it and the network device can. If one of them cannot be
    ///     sent, those behind it are not.
    ///   - trafficClass: IPv4's type of service or IPv6's traffic class, 0 to 255; nil for the socket's.
    /// - Returns: false when the queue has no room for it (``DatagramConfiguration/queuedBytesMax``; counted) or the
    ///   channel is closing: nothing was queued.
    /// - Precondition: a Unix-domain path has at most ``SocketAddress/unixPathLengthMax`` bytes.
    @discardableResult
    public func send(
        _ bytes: RawSpan, to address: SocketAddress? = nil, segmentSize: Int? = nil, trafficClass: UInt8? = nil
    ) -> Bool {
        bytes.withUnsafeBytes { send($0, to: address, segmentSize: segmentSize, trafficClass: trafficClass) }
    }

    /// Queues a datagram, as ``send(_:to:segmentSize:trafficClass:)-(RawSpan,_,_,_)``.
    @discardableResult
    public func send(
        _ bytes: UnsafeRawBufferPointer, to address: SocketAddress? = nil, segmentSize: Int? = nil,
        trafficClass: UInt8? = nil
    ) -> Bool {
        guard !isClosing else { return false }
        var storage = sockaddr_storage()
        let nameLength = address.map { Int($0.write(to: &storage)) } ?? 0
        let entryMax = Self.entryPayloadMax(bytes.count, segmentSize)
        let entries = max(1, (bytes.count + entryMax - 1) / entryMax)
        let needed =
            (entries - 1) * DatagramQueue.bytesNeeded(payload: entryMax, name: nameLength)
            + DatagramQueue.bytesNeeded(payload: bytes.count - (entries - 1) * entryMax, name: nameLength)
        guard needed <= configuration.queuedBytesMax - state.pointee.queue.bytesUsed else {
            state.pointee.statistics.refused &+= 1
            state.pointee.isWritable = false
            return false
        }
        withUnsafeBytes(of: &storage) { name in
            let name = UnsafeRawBufferPointer(rebasing: name[..<nameLength])
            for index in 0..<entries {
                let part = bytes[index * entryMax..<min(bytes.count, (index + 1) * entryMax)]
                // A part of one segment is a datagram like any other.
                let size = segmentSize.flatMap { $0 < part.count ? UInt16($0) : nil } ?? 0
                state.pointee.queue.append(
                    UnsafeRawBufferPointer(rebasing: part), name: name, segmentSize: size,
                    trafficClass: trafficClass.map(Int16.init) ?? -1, isSplit: size > 0 && family == AF_UNIX,
                    endsSend: index == entries - 1)
            }
        }
        markDirty()
        return true
    }

    /// Bytes of a send that one entry of the queue takes: all of them, or as many whole segments as the kernel splits.
    private static func entryPayloadMax(_ count: Int, _ segmentSize: Int?) -> Int {
        guard let segmentSize else { return max(1, count) }
        precondition(segmentSize > 0 && segmentSize <= Int(UInt16.max), "a segment has 1 to 65,535 bytes")
        return segmentSize * max(1, min(segmentsMax, payloadMax / segmentSize))
    }

    /// False from a refused send until ``becameWritable()``.
    public var isWritable: Bool { state.pointee.isWritable }

    /// Bytes of payload queued and not yet taken by the kernel.
    public var queuedBytes: Int { state.pointee.queue.payloadBytes }

    // MARK: Peers

    /// Connects the socket (connect(2)): it then receives from this peer only, sends need no address, and errors that
    /// the network reports are told by ``failed(_:)``. Connecting again changes the peer. Nothing is sent.
    ///
    /// Datagrams queued without an address belong to the former peer: those that the socket has no room for now are dropped.
    ///
    /// - Throws: ENETUNREACH, EACCES (a broadcast address that is not allowed), ECONNREFUSED or ENOENT (no such
    ///   Unix-domain socket), EAFNOSUPPORT, ENAMETOOLONG, …; EBADF when closing.
    public func connect(to address: SocketAddress) throws(SystemError) {
        try changePeer { fd throws(SystemError) in try Socket.connectDatagram(fd, to: address) }
    }

    /// Dissolves the connection: the socket receives from everybody again, at the same address.
    ///
    /// - Throws: EADDRINUSE when another process has got the port meanwhile.
    public func disconnect() throws(SystemError) {
        let port = localAddress?.port
        try changePeer { fd throws(SystemError) in
            var address = sockaddr()
            address.sa_family = sa_family_t(AF_UNSPEC)
            if Glibc.connect(fd, &address, socklen_t(MemoryLayout<sockaddr>.size)) < 0 { throw .last("connect") }
        }
        // The kernel takes a port that was not asked for by number, and only that, away again (__udp_disconnect()).
        guard let port, port != 0, let address = localAddress, address.port == 0 else { return }
        try Socket.bind(fd, to: address.withPort(port))
    }

    private func changePeer(_ change: (Int32) throws(SystemError) -> Void) throws(SystemError) {
        guard !isClosing else { throw SystemError("connect", code: EBADF) }
        sendOrDropQueue()
        try change(fd)
    }

    // MARK: Emptying the queue

    private enum Progress {
        case emptied
        /// The socket has no room.
        case blocked
        /// Enough for one turn.
        case interrupted
        /// A callback closed the channel.
        case closed
    }

    func sendQueue() {
        switch send(telling: true) {
        case .emptied:
            guard !state.pointee.isWritable else { return }
            state.pointee.isWritable = true
            becameWritable()
        case .blocked, .interrupted:
            waitForRoom()
        case .closed:
            break
        }
    }

    /// Without a callback: what is not sent at once is lost.
    func sendOrDropQueue() {
        guard !state.pointee.queue.isEmpty else { return }
        var progress = Progress.interrupted
        for _ in 0..<state.pointee.queue.count where progress == .interrupted { progress = send(telling: false) }
        state.pointee.statistics.dropped &+= UInt64(state.pointee.queue.count)
        state.pointee.settle(state.pointee.queue.count, .dropped)
        state.pointee.queue.removeAll()
        // For settled(), and for becameWritable(), if a send was refused.
        markDirty()
    }

    private func send(telling: Bool) -> Progress {
        for _ in 0..<Self.callsPerTurnMax {
            if state.pointee.queue.isEmpty { return .emptied }
            let count = state.pointee.queue.gather(into: state.pointee.batch)
            let result = csocket_send_datagrams(fd, family, state.pointee.batch.baseAddress, UInt32(count))
            if result > 0 {
                let taken = state.pointee.queue.sent(Int(result))
                state.pointee.statistics.sent &+= UInt64(taken.datagrams)
                state.pointee.statistics.sentBytes &+= UInt64(taken.bytes)
                if state.pointee.output == .roomConfirmed { state.pointee.output = .open }
                settle(taken.sends, .taken, telling: telling)
                if isClosing { return .closed }
            } else if result == -EAGAIN, !isFirstUndeliverable {
                return .blocked
            } else if result == -ECONNREFUSED, family != AF_UNIX {
                // What ICMP says of an earlier datagram, told once: nothing of this call was tried.
                if telling { failed(SystemError("sendmmsg", code: result)) }
                if isClosing { return .closed }
            } else if !Self.meansCannotSplit(-result) || !state.pointee.queue.splitFirst() {
                state.pointee.queue.removeFirstSend()
                state.pointee.statistics.dropped &+= 1
                settle(1, .failed(SystemError("sendmmsg", code: result)), telling: telling)
                if isClosing { return .closed }
            }
        }
        return state.pointee.queue.isEmpty ? .emptied : .interrupted
    }

    private func settle(_ count: Int, _ outcome: DatagramOutcome, telling: Bool) {
        state.pointee.settle(count, outcome)
        if telling { tellSettled() }
    }

    /// Calls out, also for what the callbacks add.
    func tellSettled() {
        while let (count, outcome) = state.pointee.takeSettled() { settled(count, outcome) }
    }

    /// The socket has room and still the first datagram is not taken: its receiver's queue is full, and no poll would
    /// tell when it is not, since the poll looks at the connected peer only (unix_dgram_poll()).
    private var isFirstUndeliverable: Bool {
        family == AF_UNIX && state.pointee.output == .roomConfirmed && state.pointee.queue.firstHasName
    }

    /// Why a kernel refuses to split: the segments are longer than a packet (EINVAL, EMSGSIZE since 6.13), the device
    /// or the route cannot (EIO), it knows no UDP_SEGMENT (EINVAL).
    private static func meansCannotSplit(_ code: Int32) -> Bool {
        code == EINVAL || code == EMSGSIZE || code == EIO
    }

    private func waitForRoom() {
        guard state.pointee.output != .waiting else { return }
        state.pointee.output = .waiting
        submit(.poll(fd: fd, events: UInt32(POLLOUT), multishot: false), .pollWrite)
    }

    /// The poll has ended: with room, or with an error that the next send will bring to light.
    func roomConfirmed() {
        state.pointee.output = .roomConfirmed
        markDirty()
    }
}
