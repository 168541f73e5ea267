import CSocket
import Glibc

// What a connection sends: its queue, one send at a time.
extension Connection {
    @inline(__always)
    func markDirty() {
        guard !state.pointee.isDirty, let registration else { return }
        state.pointee.isDirty = true
        loop.markDirty(registration)
    }

    /// Sends what comes next, unless a send is in flight.
    @inline(__always)
    func send(copying: Bool = false) {
        guard !isClosing, state.pointee.sending == .idle else { return }
        let count = state.pointee.queue.sendableCount
        let front = state.pointee.queue.front
        guard count > 0, count <= front.count, count < state.pointee.zeroCopyThreshold, let bytes = front.baseAddress,
            !state.pointee.queue.hasSegments
        else {
            return sendOtherwise(count, copying: copying)
        }
        state.pointee.sending = .plain
        submit(.send(fd: fd, bytes: bytes, count: UInt32(truncatingIfNeeded: count)), .send)
    }

    /// What is next is not `count` bytes in one chunk, to be copied.
    @inline(never)
    private func sendOtherwise(_ count: Int, copying: Bool) {
        guard count > 0 else { return sendSegmentOrFinish(copying: copying) }
        if state.pointee.queue.isFileFirst, count <= state.pointee.queue.front.count { return sendHead(count) }
        sendBytes(count, copying: copying)
    }

    /// Sends `count` bytes of chunks.
    func sendBytes(_ count: Int, copying: Bool) {
        if count >= state.pointee.zeroCopyThreshold, !copying, sendWithoutCopying(count) { return }
        state.pointee.sending = .plain
        let front = state.pointee.queue.front
        if front.count >= count {
            submit(.send(fd: fd, bytes: front.baseAddress!, count: UInt32(count)), .send)
        } else {
            submit(.sendMessage(fd: fd, message: state.pointee.gatherMessage(limit: count)), .send)
        }
    }

    private func sendSegmentOrFinish(copying: Bool) {
        if state.pointee.queue.isAtSegment { return sendSegments(copying: copying) }
        guard state.pointee.output == .finishing else { return }
        state.pointee.output = .finished
        let isLast = closeFollows
        if !isLast { sendFIN() }
        outputFinished()
        // The service may have begun something else.
        if isLast, isClosing { sendFIN() }
        closeIfFinished()
    }

    /// Whether close(2) comes at the end of this turn and is sure to say FIN: then it need not be said before. Not behind
    /// ``finishInput()``, which leaves a poll in flight: with bytes unread, close(2) says RST.
    private var closeFollows: Bool {
        guard let copy = configuration.sharedCopy, copy.isGone else { return false }
        guard state.pointee.inputEnd == .told, state.pointee.read.hasFinished else { return false }
        return registration.map { loop.inFlight($0) == 0 } ?? false
    }

    private func sendFIN() {
        // Fails only when the peer's RST came first, which the receive or the poll tells.
        shutdown(fd, Int32(SHUT_WR))
    }

    @inline(__always)
    func sendEnded(_ result: Int32) {
        state.pointee.sending = .idle
        guard !isClosing else { return sentWhileClosing(result) }
        guard result > 0 else {
            if result == -EAGAIN { return awaitRoom() }
            if result == -EINTR { return sendNext() }
            return fail(result == 0 ? EPIPE : -result, "send")
        }
        advance(Int(result))
        tellProgress()
        // All is sent, as after most small messages.
        if state.pointee.queue.isEmpty, state.pointee.output == .open { return }
        sendNext()
    }

    @inline(never)
    private func sendNext() {
        send()
    }

    /// The kernel has taken that many bytes: chunk bytes, or some of an uncopied segment.
    @inline(__always)
    func advance(_ number: Int) {
        state.pointee.bytesSent &+= UInt64(number)
        if state.pointee.queue.isAtSegment {
            advanceSegment(number)
        } else {
            state.pointee.queue.consume(number, into: loop.chunks)
        }
    }

    @inline(never)
    private func advanceSegment(_ number: Int) {
        let segment = state.pointee.queue.firstSegment?.segment
        _ = state.pointee.queue.consumeSegment(number)
        if case .spliced(let pipe, _)? = segment {
            pipe.sent(number)
            if pipe.count == 0 { loop.splicePipeReturned(pipe) }
        }
    }

    @inline(__always)
    func tellProgress() {
        state.pointee.bytesTold = state.pointee.bytesSent
        progressed()
        if !state.pointee.isWritable, !isClosing, state.pointee.queue.count <= configuration.lowWaterMark {
            state.pointee.isWritable = true
            becameWritable()
        }
        if state.pointee.queue.isEmpty, !isClosing { flushed() }
    }

    /// Sent by plain calls at most, so that a peer who is as quick as this side does not hold up the loop: what the largest
    /// send buffers hold (tcp_wmem, tcp(7)).
    package static let sentClosingMax = 4 * 1024 * 1024

    /// Sends what is queued by plain calls until the socket has no room. Nothing is in flight, and nobody is told.
    func sendWithoutWaiting() {
        var left = Self.sentClosingMax
        while left > 0, !state.pointee.queue.isEmpty {
            let result = sendFrontWithoutWaiting(limit: left)
            guard result > 0 else { return }
            advance(result)
            left -= result
        }
    }

    /// Returns how many bytes were sent; 0 when there was no room, or the connection is broken, or descriptors come next.
    private func sendFrontWithoutWaiting(limit: Int) -> Int {
        let bytes: UnsafeRawBufferPointer
        switch state.pointee.queue.firstSegment {
        case nil:
            let front = state.pointee.queue.front
            bytes = UnsafeRawBufferPointer(rebasing: front.prefix(state.pointee.queue.sendableCount))
        case (.uncopied(let memory), let sent)?:
            bytes = UnsafeRawBufferPointer(rebasing: memory.bytes[sent...])
        case (.file(let region), let sent)?:
            let count = min(region.count - sent, limit)
            let offset = region.offset + Int64(sent)
            return max(0, Int(csocket_send_file(fd, isSplicing ? 1 : 0, region.file.fd, offset, count)))
        case (.spliced(let pipe, _), _)?:
            return max(0, pipe.drain(into: fd, isNonblocking: isSplicing, limit: limit))
        case (.descriptors, _)?:
            return 0
        }
        let flags = Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL)
        return max(0, Glibc.send(fd, bytes.baseAddress, min(bytes.count, limit), flags))
    }
}
