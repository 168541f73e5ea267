// How a service writes.
extension Connection {
    /// Queues `bytes` to be sent, in order, at the end of the loop's turn. Copies them.
    ///
    /// - Returns: false when the connection is closing or its output is finished: nothing was queued.
    @discardableResult
    public func write(_ bytes: RawSpan) -> Bool {
        bytes.withUnsafeBytes { write($0) }
    }

    /// Queues `bytes` to be sent, as ``write(_:)-(RawSpan)``.
    @discardableResult
    public func write(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard !isClosing, state.pointee.output == .open else { return false }
        guard bytes.count <= configuration.queuedBytesMax - state.pointee.queue.count else {
            close(.writeQueueOverflow, reset: true)
            return false
        }
        state.pointee.queue.append(bytes, from: loop.chunks)
        if state.pointee.queue.count > configuration.highWaterMark { state.pointee.isWritable = false }
        markDirty()
        return true
    }
}
