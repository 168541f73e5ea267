import CSocket
import Glibc

/// One datagram in a receive buffer, as a multishot recvmsg lays it out (io_uring_prep_recvmsg_multishot(3)): four
/// 32-bit numbers (length of the name, of the control data, of the payload, and flags), the room for the name, the
/// room for the control data, the payload. Reads only what lies within the bytes it was given.
struct ReceivedMessage {
    /// The sender's `sockaddr`; empty when it has no name.
    let name: UnsafeRawBufferPointer
    /// Control messages (cmsg(3)).
    let control: UnsafeRawBufferPointer
    /// What was sent; cut to the buffer's end.
    let payload: UnsafeRawBufferPointer
    /// The payload, as sent, was longer than the buffer had room for (MSG_TRUNC, recvmsg(2)).
    let isTruncated: Bool

    /// Bytes of the four numbers.
    static let headerSize = 16

    /// Nil when the bytes end before the payload begins.
    ///
    /// - Parameters:
    ///   - nameRoom: bytes set aside for the name, `msg_namelen` of the receive.
    ///   - controlRoom: bytes set aside for the control data, `msg_controllen` of the receive.
    init?(_ bytes: UnsafeRawBufferPointer, nameRoom: Int, controlRoom: Int) {
        assert(nameRoom >= 0 && controlRoom >= 0)
        let controlStart = Self.headerSize + nameRoom
        let payloadStart = controlStart + controlRoom
        guard bytes.count >= payloadStart else { return nil }
        func number(_ index: Int) -> Int { Int(bytes.loadUnaligned(fromByteOffset: index * 4, as: UInt32.self)) }
        func part(_ start: Int, _ count: Int) -> UnsafeRawBufferPointer {
            UnsafeRawBufferPointer(rebasing: bytes[start..<start + count])
        }
        // The kernel tells a name's length before it was cut to its room.
        name = part(Self.headerSize, min(number(0), nameRoom))
        control = part(controlStart, min(number(1), controlRoom))
        payload = part(payloadStart, min(number(2), bytes.count - payloadStart))
        isTruncated = number(3) & Int(MSG_TRUNC) != 0 || number(2) > payload.count
    }

    /// The sender's address, or nil for a sender without one.
    var sender: SocketAddress? {
        guard !name.isEmpty else { return nil }
        // Copied, since a buffer may begin at any address.
        var storage = sockaddr_storage()
        let length = min(name.count, MemoryLayout<sockaddr_storage>.size)
        return withUnsafeMutableBytes(of: &storage) { raw in
            raw.copyMemory(from: UnsafeRawBufferPointer(rebasing: name[..<length]))
            return SocketAddress(raw.assumingMemoryBound(to: sockaddr.self).baseAddress!, length: socklen_t(length))
        }
    }

    /// What comes with the payload.
    var header: DatagramHeader {
        var header = DatagramHeader(sender: sender, isTruncated: isTruncated)
        guard !control.isEmpty else { return header }
        let control = ReceivedControl(control)
        if let size = control.joinedSize, size > 0, size < payload.count { header.segmentSize = size }
        header.trafficClass = control.trafficClass
        header.destination = control.destination
        return header
    }
}
