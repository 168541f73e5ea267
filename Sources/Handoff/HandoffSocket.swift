import CSocket
import Glibc

/// One end of the SOCK_SEQPACKET socket between the supervisor and a worker (unix(7)).
///
/// It never blocks. It belongs to one thread: the one buffer it has serves sending and receiving. The descriptor is
/// closed with the object; keep the object alive (`withExtendedLifetime`) while the bare descriptor is in use.
public final class HandoffSocket {
    /// The descriptor, to wait on. Not to be closed or read by others.
    public let descriptor: Int32

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

    /// Sends a packet that carries no descriptors.
    ///
    /// - Precondition: the packet is not ``Packet/connections(first:_:)``.
    public func send(_ packet: Packet) -> SendResult {
        precondition(packet.descriptorCount == 0, "connections are sent with their descriptors")
        let length = packet.encode(into: buffer)
        return SendResult(csocket_send(descriptor, buffer.baseAddress, length, nil, 0), length: length)
    }

    /// Sends accepted sockets, all of them or none: `fds[i]` is described by `records[i]` and has the sequence number
    /// `first + i`. The descriptors stay open here.
    ///
    /// - Precondition: 1 to ``Packet/connectionsMax`` records and as many descriptors.
    public func send(connections first: UInt64, records: [ConnectionRecord], fds: [Int32]) -> SendResult {
        precondition(fds.count == records.count, "one descriptor per record")
        let length = Packet.encodeConnections(first: first, records, into: buffer)
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
        do {
            let packet = try decode(message)
            return .packet(packet, fds: fds, fdsTruncated: fds.count < packet.descriptorCount)
        } catch {
            for fd in fds { close(fd) }
            return .malformed(error)
        }
    }

    private func decode(_ message: csocket_message) throws(PacketError) -> Packet {
        guard message.truncated == 0 else { throw .tooLong }
        let packet = try Packet(decoding: UnsafeRawBufferPointer(rebasing: buffer[..<Int(message.length)]))
        try packet.checkDescriptors(found: Int(message.fd_count), truncated: message.fds_truncated != 0)
        return packet
    }
}
