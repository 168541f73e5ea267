import CSocket
import Glibc

// Segments of the write queue: sent by plain calls that do not block, but for uncopied memory.
extension Connection {
    /// Bytes of files sent in one turn at most, so that other connections have theirs.
    private static let bytesPerTurnMax = 256 * 1024
    /// What a segment counts at least towards that bound, which so bounds their number, too.
    private static let segmentCharge = 4096

    /// Sends the segments at the front of the queue, and the bytes behind them. After plain calls it waits for room
    /// in the socket, even if there is some: so a service is told of its progress from a turn of its own, and
    /// nothing it does then can keep this turn from ending.
    func sendSegments(copying: Bool) {
        var budget = Self.bytesPerTurnMax
        while budget > 0, let (segment, sent) = state.pointee.queue.firstSegment {
            let taken: Int
            switch segment {
            case .uncopied(let memory):
                return sendUncopied(memory, sent, copying: copying)
            case .file(let region):
                taken = sendFile(region, sent, limit: budget)
            case .descriptors(let descriptors, let byteCount):
                taken = sendDescriptors(descriptors, byteCount)
            }
            if isClosing { return }
            if taken == 0 { return awaitRoom() }
            budget -= max(taken, Self.segmentCharge)
        }
        if state.pointee.queue.sendableCount > 0 { send() } else { awaitRoom() }
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
        let result = csocket_send_file(fd, region.file.fd, region.offset + Int64(sent), count)
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

    func awaitRoom(multishot: Bool = false) {
        guard !isInFlight(.pollWrite) else {
            state.pointee.sending = .settling
            return cancel(.pollWrite)
        }
        state.pointee.sending = .room
        submit(.poll(fd: fd, events: UInt32(POLLOUT), multishot: multishot), .pollWrite)
    }

    /// After the peer's FIN each new poll completes at once with POLLRDHUP, asked for or not, whether there is room or
    /// none: asking again and again would be a spin. Then a multishot waits, which after the first time tells of edges
    /// alone; it is cancelled when there is room, so that whoever waits next learns of room that there is already.
    func roomCompleted(_ completion: Completion) {
        let result = completion.result
        guard !isClosing else {
            if !completion.hasMore { state.pointee.sending = .idle }
            return
        }
        if state.pointee.sending == .settling, !completion.hasMore {
            state.pointee.sending = .idle
            return send()
        }
        guard state.pointee.sending == .room else { return }
        let saysPeerFinishedOnly = result == Int32(CSOCKET_POLLRDHUP)
        if saysPeerFinishedOnly { return completion.hasMore ? () : awaitRoom(multishot: true) }
        guard result > 0 || [EAGAIN, EINTR, ECANCELED].contains(-result) else { return fail(-result, "poll") }
        state.pointee.sending = .idle
        if completion.hasMore { cancel(.pollWrite) }
        // A failure of the socket among the events is met, and told, by the next call.
        tellProgress()
        send()
    }

    /// The cancellation may have come too early for the wait that it was meant for, or have been meant for one before.
    func roomCancelled() {
        if isClosing { return cancellationCompleted() }
        if state.pointee.sending == .settling { cancel(.pollWrite) }
    }
}
