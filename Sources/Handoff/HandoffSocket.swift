import CSocket
import Glibc

/// One end of the SOCK_SEQPACKET socket between the supervisor and a worker (unix(7)).
///
/// It never blocks. It belongs to one thread: the one buffer it has serves sending and receiving. The descriptor is
/// closed with the object; keep the object alive (`withExtendedLifetime`) while the bare descriptor is in use.
public final class HandoffSocket {
    /// The descriptor, to wait on. Not to be closed or read by others.
    public let descriptor: Int32

    /// The version that packets are sent in: ``Packet/versionMin`` until the owner sets what was agreed. See ``Packet``.
    public var version = Packet.versionMin {
        didSet { precondition(Packet.versionMin...Packet.version ~= version) }
    }

    /// The version of the last packet received; ``Packet/versionMin`` before the first. A worker answers in it.
    public private(set) var versionHeard = Packet.versionMin

    private let buffer: UnsafeMutableRawBufferPointer

    /// Takes over a descriptor, such as one inherited from the supervisor, and closes it in the end.
    public init(owning descriptor: Int32) {
        precondition(descriptor >= 0)
        self.descriptor = descriptor
        buffer = .allocate(byteCount: Packet.sizeMax, alignment: 8)
    }

    deinit {
        buffer.deallocate()
        close(descriptor)
    }

    /// Two connected ends, close-on-exec (socketpair(2)).
    public static func pair() throws(HandoffError) -> (HandoffSocket, HandoffSocket) {
        var ends: (Int32, Int32) = (-1, -1)
        let status = withUnsafeMutableBytes(of: &ends) {
            csocket_seqpacket_pair($0.assumingMemoryBound(to: Int32.self).baseAddress)
        }
        guard status == 0 else { throw HandoffError(call: "socketpair", errno: -status) }
        return (HandoffSocket(owning: ends.0), HandoffSocket(owning: ends.1))
    }

    /// Whether the peer has closed its end, for good (POLLHUP of poll(2)); what it sent before may still be there.
    public var isPeerGone: Bool {
        var entry = pollfd(fd: descriptor, events: 0, revents: 0)
        return poll(&entry, 1, 0) > 0 && entry.revents & Int16(POLLHUP) != 0
    }

    /// Sends a packet that carries no descriptors.
    ///
    /// - Precondition: ``version`` has such packets.
    public func send(_ packet: Packet) -> SendResult {
        precondition(packet.descriptorCount == 0, "connections are sent with their descriptors")
        let length = packet.encode(version: version, into: buffer)
        return SendResult(csocket_send(descriptor, buffer.baseAddress, length, nil, 0), length: length)
    }

    /// Sends accepted sockets, all of them or none: `fds[i]` is described by `records[i]` and has the sequence number
    /// `first + i`. The descriptors stay open here.
    ///
    /// - Precondition: 1 to ``Packet/connectionsMax`` records and as many descriptors.
    public func send(connections first: UInt64, records: [ConnectionRecord], fds: [Int32]) -> SendResult {
        precondition(fds.count == records.count, "one descriptor per record")
        let length = Packet.encodeConnections(first: first, records, version: version, into: buffer)
        return send(length, fds)
    }

    /// Sends a connection that another worker gave up, under the sequence number `first`. The sockets stay open here.
    ///
    /// - Precondition: as many descriptors as the connection has sockets; ``version`` is at least
    ///   ``Packet/migrationVersion``.
    public func send(migrated first: UInt64, _ connection: MigratedConnection, fds: [Int32]) -> SendResult {
        send(.migrated(first: first, connection), connection, fds)
    }

    /// Offers a connection to the supervisor. The sockets stay open here.
    ///
    /// - Precondition: as many descriptors as the connection has sockets; ``version`` is at least
    ///   ``Packet/migrationVersion``.
    public func send(offer number: UInt32, _ connection: MigratedConnection, fds: [Int32]) -> SendResult {
        send(.offer(number: number, connection), connection, fds)
    }

    private func send(_ packet: Packet, _ connection: MigratedConnection, _ fds: [Int32]) -> SendResult {
        precondition(fds.count == connection.socketCount, "one descriptor per socket")
        let length = packet.encode(version: version, into: buffer)
        guard connection.isStateInFile else { return send(length, fds) }
        do throws(HandoffError) {
            let file = try SealedMemory.make(connection.state, name: "ringmaster-state")
            defer { close(file) }
            return send(length, fds + [file])
        } catch {
            return .failed(errno: error.errno)
        }
    }

    /// Sends the first `length` bytes of the buffer with these descriptors.
    private func send(_ length: Int, _ fds: [Int32]) -> SendResult {
        let sent = fds.withUnsafeBufferPointer {
            csocket_send(descriptor, buffer.baseAddress, length, $0.baseAddress, UInt32($0.count))
        }
        return SendResult(sent, length: length)
    }

    /// Receives one packet, if there is one. The descriptors that come with it are the caller's, close-on-exec.
    public func receive() -> ReceiveResult {
        var message = csocket_message()
        var status = csocket_receive(descriptor, buffer.baseAddress, buffer.count, &message)
        // A peer that closes while packets to it are unread leaves ECONNRESET here, which is reported once and before
        // the packets that it sent earlier (af_unix.c, unix_release_sock; sock_error clears it).
        if status == -ECONNRESET {
            status = csocket_receive(descriptor, buffer.baseAddress, buffer.count, &message)
        }
        switch -status {
        case 0: return take(message)
        case EAGAIN: return .empty
        case ECONNRESET: return .endOfFile
        case let errno: return .failed(errno: errno)
        }
    }

    private func take(_ message: csocket_message) -> ReceiveResult {
        let fds = withUnsafeBytes(of: message.fds) {
            Array($0.assumingMemoryBound(to: Int32.self).prefix(Int(message.fd_count)))
        }
        if message.length == 0 && fds.isEmpty { return .endOfFile }
        do throws(PacketError) {
            let decoded = try decode(message)
            try decoded.checkDescriptors(found: fds.count, truncated: message.fds_truncated != 0)
            let result = try deliver(decoded, fds)
            versionHeard = decoded.version
            return result
        } catch {
            for fd in fds { close(fd) }
            return .malformed(error)
        }
    }

    private func decode(_ message: csocket_message) throws(PacketError) -> DecodedPacket {
        guard message.truncated == 0 else { throw .tooLong }
        return try DecodedPacket(UnsafeRawBufferPointer(rebasing: buffer[..<Int(message.length)]))
    }

    /// The packet with its state, which may be in the last of its descriptors. When it throws, none has been closed.
    private func deliver(_ decoded: DecodedPacket, _ fds: [Int32]) throws(PacketError) -> ReceiveResult {
        let isTruncated = fds.count < decoded.descriptorCount
        switch decoded.packet {
        case .migrated, .offer:
            if isTruncated {
                for fd in fds { close(fd) }
                return .packet(decoded.packet, fds: [], fdsTruncated: true)
            }
            guard decoded.stateFileSize > 0, let file = fds.last else { break }
            let packet = decoded.packet.with(state: try state(in: file, size: decoded.stateFileSize))
            close(file)
            return .packet(packet, fds: Array(fds.dropLast()), fdsTruncated: false)
        case .connections, .drain, .stop, .offerTaken, .offerRefused, .hello, .ready, .drained, .failed:
            break
        }
        return .packet(decoded.packet, fds: fds, fdsTruncated: isTruncated)
    }

    private func state(in file: Int32, size: Int) throws(PacketError) -> [UInt8] {
        let state: [UInt8]
        do throws(HandoffError) {
            state = try SealedMemory.read(file, sizeMax: size)
        } catch {
            throw .stateFile
        }
        guard state.count == size else { throw .stateFile }
        return state
    }
}
