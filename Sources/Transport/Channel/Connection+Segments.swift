import CSocket
import Glibc

// Segments of the write queue: sent by plain calls that do not block, but for uncopied memory.
extension Connection {
    /// Bytes of files sent in one turn at most, so that other connections have theirs. A pipe, which holds no more, goes at once.
    private static let bytesPerTurnMax = 1024 * 1024
    /// What a segment counts at least towards that bound, which so bounds their number, too.
    private static let segmentCharge = 4096

    /// Sends the segments at the front of the queue, and the bytes behind them. After plain calls it waits for the next
    /// turn, or for room in the socket: so a service is told of its progress from a turn of its own, and nothing it does
    /// then can keep this turn from ending.
    func sendSegments(copying: Bool) {
        var budget = Self.bytesPerTurnMax
        while budget > 0, let (segment, sent) = state.pointee.queue.firstSegment {
            let taken: Int
            switch segment {
            case .uncopied(let memory):
                return sendUncopied(memory, sent, copying: copying)
            case .file(let region):
                taken = sendFile(region, sent, limit: budget)
                // Another call would only say that there is no room.
                if taken > 0, taken < min(region.count - sent, budget) { return awaitRoom() }
            case .spliced(let pipe, _):
                taken = sendSpliced(pipe)
                if taken > 0, pipe.count > 0 { return awaitRoom() }
            case .descriptors(let descriptors, let byteCount):
                taken = sendDescriptors(descriptors, byteCount)
            }
            if isClosing { return }
            if taken == 0 { return awaitRoom() }
            budget -= max(taken, Self.segmentCharge)
        }
        let count = state.pointee.queue.sendableCount
        if count > 0 { sendBytes(count, copying: copying) } else { awaitNextTurn() }
    }

    /// Sends `count` bytes of the first chunk, and the file behind them in the same turn: with MSG_MORE (send(2)), so that
    /// an answer's head and the beginning of its body go out in one packet, and wake the peer once.
    func sendHead(_ count: Int) {
        let flags = Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL) | Int32(MSG_MORE)
        let result = Glibc.send(fd, state.pointee.queue.front.baseAddress, count, flags)
        guard result > 0 else {
            let code = errno
            return code == EAGAIN || code == EINTR ? awaitRoom() : fail(code, "send")
        }
        advance(result)
        if result == count { sendSegments(copying: false) } else { awaitRoom() }
    }

    private func sendUncopied(_ memory: UncopiedBytes, _ sent: Int, copying: Bool) {
        let left = UnsafeRawBufferPointer(rebasing: memory.bytes[sent...])
        if left.count >= state.pointee.zeroCopyThreshold, !copying, sendWithoutCopying(memory, sent: sent) { return }
        state.pointee.sending = .plain
        let count = UInt32(min(left.count, ZeroCopySends.sendMax))
        submit(.send(fd: fd, bytes: left.baseAddress!, count: count), .send)
    }

    /// Returns how many bytes were sent; 0 when there was no room or the connection has ended.
    private func sendFile(_ region: FileRegion, _ sent: Int, limit: Int) -> Int {
        let count = min(region.count - sent, limit)
        let result = csocket_send_file(fd, isSplicing ? 1 : 0, region.file.fd, region.offset + Int64(sent), count)
        switch result {
        case 1...:
            advance(Int(result))
            return Int(result)
        case 0:
            close(.fileTooShort, reset: false)
        case Int64(-EAGAIN):
            break
        default:
            fail(Int32(-result), "sendfile")
        }
        return 0
    }

    /// Returns how many of the message's bytes were sent, the descriptors having gone with them; 0 when there was no
    /// room or the connection has ended.
    private func sendDescriptors(_ descriptors: [OwnedDescriptor], _ byteCount: Int) -> Int {
        let front = state.pointee.queue.front
        let fds = descriptors.map(\.fd)
        let count = min(front.count, byteCount)
        let result = csocket_send(fd, front.baseAddress, count, fds, UInt32(fds.count))
        guard result > 0 else {
            if result != Int64(-EAGAIN) { fail(Int32(-result), "sendmsg") }
            return 0
        }
        _ = state.pointee.queue.consumeSegment(0)
        advance(Int(result))
        return Int(result)
    }
}
