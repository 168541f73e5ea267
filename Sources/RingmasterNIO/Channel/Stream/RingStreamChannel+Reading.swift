import NIOCore

/// What a stream channel reads. The connection below delivers unasked. What nobody asked for is parked here, at most what one
/// receive brought, and the connection is told to stop; what its multishot receive brings before it has been cancelled is parked
/// there.
extension RingStreamChannel {
    @inline(__always)
    func received(_ bytes: RawSpan) {
        guard lifecycle.isActive, !isInputClosed else { return }
        loop.traffic.pointee.received &+= UInt64(bytes.byteCount)
        guard receiveAllocator == nil, mayRead || drainsInput, parked.readableBytes == 0 else {
            return receivedSlowly(bytes)
        }
        let buffer = bytes.withUnsafeBytes { bytes in
            var buffer = bufferAllocator.buffer(capacity: bytes.count)
            buffer.writeBytes(bytes)
            return buffer
        }
        fireRead(NIOAny(buffer))
    }

    /// Nobody has asked, or asks for pieces of another size.
    private func receivedSlowly(_ bytes: RawSpan) {
        if parked.readableBytes == 0, mayRead || drainsInput, let buffer = wholePiece(bytes) {
            return fireRead(NIOAny(buffer))
        }
        bytes.withUnsafeBytes { _ = parked.writeBytes($0) }
        giveParked()
        if parked.readableBytes > 0 { connection?.pauseReading() }
    }

    /// All of it, if the allocator's next buffer has room: copied once.
    private func wholePiece(_ bytes: RawSpan) -> ByteBuffer? {
        guard var allocator = receiveAllocator else { return nil }
        var buffer = allocator.buffer(allocator: bufferAllocator)
        guard buffer.capacity >= bytes.byteCount else { return nil }
        buffer.clear()
        bytes.withUnsafeBytes { _ = buffer.writeBytes($0) }
        _ = allocator.record(actualReadBytes: bytes.byteCount)
        receiveAllocator = allocator
        return buffer
    }

    func askForMore() {
        guard !isInputClosed else { return }
        if parked.readableBytes > 0 { finishReadLater() } else { connection?.resumeReading() }
    }

    /// Bytes that are parked, before any newer ones.
    func giveParked() {
        while lifecycle.isActive, !isInputClosed, parked.readableBytes > 0, mayRead || drainsInput {
            guard let buffer = takeParked() else { return }
            fireRead(NIOAny(buffer))
        }
    }

    /// As much as the allocator's next buffer has room for, which it is then told.
    private func takeParked() -> ByteBuffer? {
        guard var allocator = receiveAllocator else {
            // The next to be parked goes into new memory: this is the handlers'.
            defer { parked = ByteBuffer() }
            return parked
        }
        var buffer = allocator.buffer(allocator: bufferAllocator)
        buffer.clear()
        let count = min(max(buffer.capacity, 1), parked.readableBytes)
        guard let piece = parked.readSlice(length: count) else { return nil }
        buffer.writeImmutableBuffer(piece)
        _ = allocator.record(actualReadBytes: count)
        receiveAllocator = allocator
        if parked.readableBytes == 0 { parked = ByteBuffer() }
        return buffer
    }

    /// The peer has finished while the connection does not read.
    func inputEnding() {
        guard lifecycle.isActive, !isInputClosed else { return }
        drainsInput = true
        connection?.resumeReading()
        finishReadLater()
    }

    /// Nothing comes any more: what is parked is told whether asked for or not.
    func drainParked() {
        drainsInput = true
        giveParked()
    }

    /// The peer has finished, and all it sent has come.
    func inputEnded() {
        guard lifecycle.isActive, !isInputClosed else { return }
        drainParked()
        guard lifecycle.isActive, !isInputClosed else { return }
        fireReadComplete()
        guard lifecycle.isActive, !isInputClosed else { return }
        close0(error: ChannelError.eof, mode: allowsRemoteHalfClosure ? .input : .all, promise: nil)
    }
}
