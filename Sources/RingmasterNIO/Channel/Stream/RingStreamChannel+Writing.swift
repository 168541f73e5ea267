import NIOCore

/// How far the output of a stream channel is closed.
enum OutputClosing {
    case open
    /// FIN follows when all has been sent that is written.
    case pending(EventLoopPromise<Void>?)
    /// FIN is on its way.
    case finishing(EventLoopPromise<Void>?)
    case closed
}

/// What a stream channel writes: the connection below is handed what was flushed, as far as its water marks allow.
extension RingStreamChannel {
    /// Bytes of one buffer from which they are sent from where they lie; fewer are copied, and go together with others.
    private static var uncopiedMin: Int { 64 * 1024 }
    /// Segments (file regions, uncopied buffers) that the connection is handed at most before it has sent some.
    private static var segmentsMax: Int { 64 }

    func append(_ data: NIOAny, _ promise: EventLoopPromise<Void>?) {
        guard lifecycle.isOpen else { return fail(promise, ChannelError.ioOnClosedChannel) }
        switch output {
        case .open, .pending: break
        case .finishing, .closed: return fail(promise, ChannelError.outputClosed)
        }
        guard writes.pointee.append(unwrapData(data, as: IOData.self), promise) else {
            writableFlag.store(false, ordering: .relaxed)
            return pipeline.syncOperations.fireChannelWritabilityChanged()
        }
    }

    /// Hands over what was flushed until the connection has enough.
    func handOverFlushed() {
        guard let connection else { return }
        while connection.isWritable, connection.queuedSegments < Self.segmentsMax, let data = writes.pointee.handOver()
        {
            hand(data, to: connection)
        }
        // Nothing but empty buffers may have been flushed.
        keepPromises()
        finishOutputIfDone()
    }

    /// The channel closes: as much of what was flushed as the connection may still send.
    func handOverLast() {
        guard let connection else { return }
        while connection.queuedBytes + connection.queuedFileBytes < CoreConnection.sentClosingMax,
            let data = writes.pointee.handOver()
        {
            hand(data, to: connection)
        }
    }

    private func hand(_ data: IOData, to connection: StreamConnection) {
        switch data {
        case .byteBuffer(let buffer) where buffer.readableBytes >= Self.uncopiedMin:
            buffer.withUnsafeReadableBytesWithStorageManagement { bytes, storage in
                _ = storage.retain()
                connection.write(uncopied: bytes) { storage.release() }
            }
        case .byteBuffer(let buffer):
            buffer.withUnsafeReadableBytes { _ = connection.write($0) }
        case .fileRegion(let region):
            hand(region, to: connection)
        }
    }

    private func hand(_ region: NIOCore.FileRegion, to connection: StreamConnection) {
        do {
            let file = try region.fileHandle.withUnsafeFileDescriptor { try CoreDescriptor(copying: $0) }
            connection.write(
                file: try CoreFileRegion(file, offset: Int64(region.readerIndex), count: region.readableBytes))
        } catch {
            // As a failed write: nothing can be sent behind the hole.
            writes.pointee.breakOff()
            close(error, nil)
        }
    }

    /// The kernel has taken some.
    func progressed() {
        guard let connection else { return }
        progress(connection)
        keepPromises()
        guard lifecycle.isOpen else { return }
        if writes.pointee.becameWritable() {
            writableFlag.store(true, ordering: .relaxed)
            pipeline.syncOperations.fireChannelWritabilityChanged()
        }
        if writes.pointee.isFlushPending { handOverFlushed() } else { finishOutputIfDone() }
    }

    /// Takes note of what the kernel has taken.
    func progress(_ connection: StreamConnection) {
        loop.traffic.pointee.sent &+= UInt64(writes.pointee.sent(connection.bytesSent))
    }

    /// Tells those whose bytes the kernel has taken.
    func keepPromises() {
        while let promise = writes.pointee.takeKept() { promise.succeed(()) }
    }

    // MARK: Closing the output

    func closeOutput(_ error: any Error, _ promise: EventLoopPromise<Void>?) {
        if case .closed = output { return fail(promise, ChannelError.outputClosed) }
        if isInputClosed, writes.pointee.isEmpty { return close(error, promise) }
        guard lifecycle.isActive else { return fail(promise, ChannelError.inappropriateOperationForState) }
        switch output {
        case .open:
            output = .pending(promise)
            finishOutputIfDone()
        case .pending(let first):
            output = .pending(Self.both(first, promise))
        case .finishing(let first):
            output = .finishing(Self.both(first, promise))
        case .closed:
            break
        }
    }

    private static func both(
        _ first: EventLoopPromise<Void>?, _ second: EventLoopPromise<Void>?
    ) -> EventLoopPromise<Void>? {
        guard let first else { return second }
        if let second { first.futureResult.cascade(to: second) }
        return first
    }

    private func finishOutputIfDone() {
        guard case .pending(let promise) = output, writes.pointee.isEmpty else { return }
        output = .finishing(promise)
        connection?.finishOutput()
    }

    /// FIN has been sent.
    func outputFinished() {
        guard lifecycle.isOpen, case .finishing(let promise) = output else { return }
        output = .closed
        promise?.succeed(())
        guard lifecycle.isOpen else { return }
        pipeline.syncOperations.fireUserInboundEventTriggered(ChannelEvent.outputClosed)
        if lifecycle.isOpen, isInputClosed { close(ChannelError.outputClosed, nil) }
    }

    func failOutputClosing(_ error: any Error) {
        let closing = output
        output = .closed
        switch closing {
        case .pending(let promise), .finishing(let promise): promise?.fail(error)
        case .open, .closed: break
        }
    }
}
