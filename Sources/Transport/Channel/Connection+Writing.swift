import CSocket

// How a service writes.
extension Connection {
    /// Queues `bytes` to be sent, in order, at the end of the loop's turn. Copies them, unless they are bytes that
    /// ``received(_:)`` is being told, here or on another connection of the loop: many of those are sent from where they lie.
    ///
    /// - Returns: false when the connection is closing or its output is finished: nothing was queued.
    @discardableResult
    public func write(_ bytes: RawSpan) -> Bool {
        bytes.withUnsafeBytes { write($0) }
    }

    /// Queues `bytes` to be sent, as ``write(_:)-(RawSpan)``.
    @discardableResult
    public func write(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard mayWrite(bytes.count) else { return false }
        // Not to one that is not started: the loop does not wait for its end before it frees the receive buffers.
        if bytes.count >= Chunk.lentMin, registration != nil, let chunk = loop.lend(bytes) {
            state.pointee.queue.append(chunk)
        } else {
            state.pointee.queue.append(bytes, from: loop.chunks)
        }
        written()
        return true
    }

    /// Queues a range of a file to be sent, in order with everything else, without reading it into this process
    /// (sendfile(2)). An empty region is fine. If the file proves shorter, the connection ends with
    /// ``CloseReason/fileTooShort``.
    ///
    /// The loop sends at most 1 MiB of it per turn. Bytes that are not in the page cache are read from disk by the
    /// loop's thread, which does nothing else meanwhile.
    ///
    /// - Returns: false when the connection is closing or its output is finished: nothing was queued.
    @discardableResult
    public func write(file region: FileRegion) -> Bool {
        guard mayWrite(0) else { return false }
        return region.count == 0 || append(.file(region))
    }

    /// Queues `bytes` to be sent from where they lie: for large pieces, from some 64 KiB on.
    ///
    /// - Parameters:
    ///   - bytes: must neither change nor go until `release` is called.
    ///   - release: is called once in every case, on the loop's thread, when the kernel has let go of the bytes or they
    ///     were dropped; before this returns, if they are not queued at all. It must not call this connection.
    /// - Returns: false when the connection is closing or its output is finished: nothing was queued.
    @discardableResult
    public func write(uncopied bytes: UnsafeRawBufferPointer, release: @escaping () -> Void) -> Bool {
        let memory = UncopiedBytes(bytes, release: release)
        guard mayWrite(bytes.count) else { return false }
        return bytes.isEmpty || append(.uncopied(memory))
    }

    /// Queues `bytes` to be sent with copies of `descriptors` (SCM_RIGHTS, unix(7)), in order with everything else.
    /// The receiver gets the descriptors with the recvmsg(2) that reads the first of the bytes; it may bring bytes
    /// written before, too, but none written after. They are kept until they have been sent. Unix-domain sockets only.
    ///
    /// - Parameters:
    ///   - bytes: 1 or more. Copied.
    ///   - descriptors: at most 16.
    /// - Returns: false when the connection is closing or its output is finished: nothing was queued.
    @discardableResult
    public func write(_ bytes: UnsafeRawBufferPointer, descriptors: [OwnedDescriptor]) -> Bool {
        precondition(isUnixDomain, "only Unix-domain sockets carry descriptors")
        precondition(!bytes.isEmpty, "descriptors travel with at least one byte")
        precondition(descriptors.count <= CSOCKET_FDS_PER_MESSAGE_MAX, "too many descriptors for one message")
        guard mayWrite(bytes.count) else { return false }
        guard descriptors.isEmpty || append(.descriptors(descriptors, byteCount: bytes.count)) else { return false }
        state.pointee.queue.append(bytes, from: loop.chunks)
        written()
        return true
    }

    /// Whether `count` bytes more may be queued. Too many end the connection.
    @inline(__always)
    private func mayWrite(_ count: Int) -> Bool {
        guard !isClosing, state.pointee.output == .open else { return false }
        guard count <= configuration.queuedBytesMax - state.pointee.queue.count else {
            close(.writeQueueOverflow, reset: true)
            return false
        }
        return true
    }

    private func append(_ segment: WriteQueue.Segment) -> Bool {
        guard state.pointee.queue.segmentCount < configuration.queuedSegmentsMax else {
            close(.writeQueueOverflow, reset: true)
            return false
        }
        state.pointee.queue.append(segment)
        written()
        return true
    }

    @inline(__always)
    private func written() {
        if state.pointee.queue.count > configuration.highWaterMark { state.pointee.isWritable = false }
        markDirty()
    }
}
