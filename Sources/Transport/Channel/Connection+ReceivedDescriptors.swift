import CSocket
import Glibc

// How a connection receives when descriptors may come with the bytes: a poll, then recvmsg(2) by a plain call. Through
// the ring Linux 6.17 has damaged the control message (liburing issue 1509), and this is not the hot path.
extension Connection {
    /// Messages taken per turn, so that a talkative peer does not hold up the others.
    private static var messagesPerTurnMax: Int { 16 }

    /// Receives until there is no more, or enough. Returns what a receive would have ended with.
    func receiveMessages() -> Int32 {
        let chunk = loop.chunks.take()
        defer { loop.chunks.give(chunk) }
        var message = csocket_message()
        for _ in 0..<Self.messagesPerTurnMax {
            guard !isClosing, state.pointee.read.isWanted else { break }
            let result = csocket_receive(fd, chunk.header.pointee.base, Chunk.capacity, &message)
            if result < 0 { return result }
            if message.length == 0 { return 0 }
            state.pointee.bytesReceived &+= UInt64(message.length)
            if message.fds_truncated != 0 { state.pointee.messagesTruncated &+= 1 }
            let bytes = UnsafeRawBufferPointer(start: chunk.header.pointee.base, count: Int(message.length))
            received(bytes.bytes, descriptors: ReceivedDescriptors(message))
        }
        return -EAGAIN
    }

    /// Messages that had lost descriptors when they arrived: see ``ReceivedDescriptors/isTruncated``.
    public var messagesTruncated: UInt64 { state.pointee.messagesTruncated }
}
