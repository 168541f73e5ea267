import Glibc

// What a connection sends: its queue, one send at a time.
extension Connection {
    @inline(__always)
    func markDirty() {
        guard !state.pointee.isDirty, let registration else { return }
        state.pointee.isDirty = true
        loop.markDirty(registration)
    }

    func send() {
        guard !isClosing, !state.pointee.sendInFlight else { return }
        if state.pointee.queue.isEmpty {
            if state.pointee.output == .finishing {
                state.pointee.output = .finished
                // Fails only when the peer's RST came first, which the receive or the poll tells.
                shutdown(fd, Int32(SHUT_WR))
                closeIfFinished()
            }
            return
        }
        state.pointee.sendInFlight = true
        if state.pointee.queue.isContiguous {
            let front = state.pointee.queue.front
            submit(.send(fd: fd, bytes: front.baseAddress!, count: UInt32(front.count)), .send)
        } else {
            submit(.sendMessage(fd: fd, message: state.pointee.gatherMessage()), .send)
        }
    }

    @inline(__always)
    func sendCompleted(_ result: Int32) {
        state.pointee.sendInFlight = false
        guard !isClosing else { return }
        guard result > 0 else {
            if result == -EAGAIN || result == -EINTR { return send() }
            return fail(result == 0 ? EPIPE : -result, "send")
        }
        state.pointee.queue.consume(Int(result), into: loop.chunks)
        state.pointee.bytesSent &+= UInt64(result)
        if !state.pointee.isWritable, state.pointee.queue.count <= configuration.lowWaterMark {
            state.pointee.isWritable = true
            becameWritable()
        }
        if state.pointee.queue.isEmpty, !isClosing { flushed() }
        send()
    }
}
