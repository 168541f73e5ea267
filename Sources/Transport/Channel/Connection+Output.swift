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
    func send(copying: Bool = false) {
        guard !isClosing, state.pointee.sending == .idle else { return }
        let count = state.pointee.queue.sendableCount
        guard count > 0 else { return sendSegmentOrFinish(copying: copying) }
        if count >= state.pointee.zeroCopyThreshold, !copying, sendWithoutCopying(count) { return }
        state.pointee.sending = .plain
        let front = state.pointee.queue.front
        if front.count >= count {
            submit(.send(fd: fd, bytes: front.baseAddress!, count: UInt32(count)), .send)
        } else {
            submit(.sendMessage(fd: fd, message: state.pointee.gatherMessage(limit: count)), .send)
        }
    }

    @inline(never)
    private func sendSegmentOrFinish(copying: Bool) {
        if state.pointee.queue.isAtSegment { return sendSegments(copying: copying) }
        guard state.pointee.output == .finishing else { return }
        state.pointee.output = .finished
        // Fails only when the peer's RST came first, which the receive or the poll tells.
        shutdown(fd, Int32(SHUT_WR))
        closeIfFinished()
    }

    @inline(__always)
    func sendCompleted(_ result: Int32) {
        state.pointee.sending = .idle
        guard !isClosing else { return sentWhileClosing(result) }
        guard result > 0 else {
            if result == -EAGAIN || result == -EINTR { return send() }
            return fail(result == 0 ? EPIPE : -result, "send")
        }
        advance(Int(result))
        tellProgress()
        // All is sent, as after most small messages.
        if state.pointee.queue.isEmpty, state.pointee.output == .open { return }
        send()
    }

    /// The kernel has taken that many bytes: chunk bytes, or some of an uncopied segment.
    @inline(__always)
    func advance(_ number: Int) {
        state.pointee.bytesSent &+= UInt64(number)
        if state.pointee.queue.isAtSegment {
            _ = state.pointee.queue.consumeSegment(number)
        } else {
            state.pointee.queue.consume(number, into: loop.chunks)
        }
    }

    @inline(__always)
    func tellProgress() {
        if !state.pointee.isWritable, !isClosing, state.pointee.queue.count <= configuration.lowWaterMark {
            state.pointee.isWritable = true
            becameWritable()
        }
        if state.pointee.queue.isEmpty, !isClosing { flushed() }
    }
}
