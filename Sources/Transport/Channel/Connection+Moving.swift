import Glibc

// How a connection leaves its loop with its socket open, and goes on elsewhere.
extension Connection {
    /// Lets go of the socket, so that the connection can go on in another loop or another process: nothing more is told
    /// or sent here, what is in flight is cancelled, and when the kernel is done with all of it `completion` is called,
    /// from the loop and never from within this call, with the socket and every byte that is neither told to the
    /// service nor taken by the kernel. It takes the place of ``closed(_:)``.
    ///
    /// The peer notices nothing. Only if the connection breaks meanwhile, or ``close()`` or ``abort()`` is called, does
    /// ``closed(_:)`` follow instead of `completion`.
    ///
    /// What is queued uncopied, or lies in a pipe, is copied, and let go of. File regions and descriptor messages cannot be taken along:
    /// ask again when they have been sent (``flushed()``).
    ///
    /// - Returns: false when one of those is queued, the connection has not been started, or is closing or detaching
    ///   already: `completion` will not be called.
    @discardableResult
    public func detach(_ completion: @escaping (consuming DetachedConnection) -> Void) -> Bool {
        guard canDetach else { return false }
        state.pointee.detachment = completion
        beginClosing()
        return true
    }

    /// Whether ``detach(_:)`` would begin.
    public var canDetach: Bool { !isClosing && registration != nil && state.pointee.queue.isMemory }

    /// Whether ``detach(_:)`` is waiting for the kernel.
    var isDetaching: Bool { state.pointee.detachment != nil }

    /// The connection closes after all: the detachment is off.
    func abandonDetaching(_ reason: CloseReason, reset: Bool) {
        guard isDetaching else { return }
        state.pointee.detachment = nil
        state.pointee.closeReason = reason
        if reset { Socket.disconnect(fd) }
    }

    /// Puts aside what a receive brought before it heard of its cancellation. End of file needs no note: the next
    /// receive meets it again.
    func receivedWhileClosing(_ completion: Completion) {
        if isDetaching {
            let bytes = loop.receivedBytes(of: completion)
            state.pointee.bytesReceived &+= UInt64(bytes.count)
            state.pointee.parked.append(bytes, from: loop.chunks)
        }
        loop.releaseBytes(of: completion)
        if !completion.hasMore { failIfBroken(completion.result, "recv") }
    }

    /// Counts what a send had sent before it heard of its cancellation. The rest is the next owner's to send.
    func sentWhileClosing(_ result: Int32) {
        if isDetaching || state.pointee.sendsQueued, result > 0 { advance(Int(result)) }
        failIfBroken(result, "send")
    }

    /// A socket tells of its failure once: the next owner would take it for the end of the input.
    private func failIfBroken(_ result: Int32, _ call: String) {
        switch -result {
        case ...0, ECANCELED, ENOBUFS, EAGAIN, EINTR:
            break
        default:
            fail(-result, call)
        }
    }

    /// Nothing is in flight any more: hands over. Returns false when nobody asked for it.
    func handOver() -> Bool {
        guard let completion = state.pointee.detachment else { return false }
        state.pointee.detachment = nil
        let unread = state.pointee.parked.takeBytes(into: loop.chunks)
        let (unsent, dropped) = state.pointee.queue.takeBytes(into: loop.chunks)
        let remainder = ConnectionRemainder(
            unread: unread, unsent: unsent,
            isInputEnded: isInputEnded, output: state.pointee.output)
        guard let remainder else {
            preconditionFailure("a connection parks nothing behind the end, and queues nothing behind FIN")
        }
        completion(DetachedConnection(fd: fd, remainder: remainder))
        for case .spliced(let pipe, _) in dropped { loop.splicePipeReturned(pipe) }
        // Last, since the owners of uncopied memory are told by it.
        _ = consume dropped
        return true
    }

    /// Takes over what the former owner left. Before the start.
    func restore(_ former: ConnectionRemainder) {
        former.unread.withUnsafeBytes { state.pointee.parked.append($0, from: loop.chunks) }
        former.unsent.withUnsafeBytes { state.pointee.queue.append($0, from: loop.chunks) }
        state.pointee.read.restore(hasParked: !former.unread.isEmpty, isFinished: former.isInputEnded)
        if former.isInputEnded { state.pointee.inputEnd = .told }
        state.pointee.output = former.output
        if state.pointee.queue.count > configuration.highWaterMark { state.pointee.isWritable = false }
    }
}

extension ByteQueue {
    /// Takes all bytes out, in order.
    fileprivate mutating func takeBytes(into pool: ChunkPool) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        while !isEmpty {
            bytes.append(contentsOf: front)
            pool.give(removeFront())
        }
        return bytes
    }
}

extension WriteQueue {
    /// Takes all bytes out, in order, chunk bytes, uncopied ones and those in pipes; there must be nothing else.
    ///
    /// - Returns: also the uncopied segments, for the caller to drop: memory is given back by it.
    fileprivate mutating func takeBytes(into pool: ChunkPool) -> (bytes: [UInt8], dropped: [Segment]) {
        var all: [UInt8] = []
        var dropped: [Segment] = []
        all.reserveCapacity(count)
        while !isEmpty {
            switch firstSegment {
            case (.uncopied(let memory), let sent)?:
                all.append(contentsOf: memory.bytes[sent...])
                if let segment = consumeSegment(memory.bytes.count - sent) { dropped.append(segment) }
            case (.spliced(let pipe, _), _)?:
                let number = pipe.count
                pipe.read(into: &all)
                if let segment = consumeSegment(number) { dropped.append(segment) }
            case (.file, _)?, (.descriptors, _)?:
                preconditionFailure("files and descriptors are not taken along")
            case nil:
                let part = UnsafeRawBufferPointer(rebasing: front.prefix(sendableCount))
                all.append(contentsOf: part)
                consume(part.count, into: pool)
            }
        }
        return (all, dropped)
    }
}
