import NIOCore

/// What a stream channel was given to write and the kernel has not taken, in order: first what the connection below has
/// been handed, then what was flushed and waits for it to have room, then what was only written.
struct PendingWrites {
    private struct Write {
        var data: IOData
        var promise: EventLoopPromise<Void>?
    }

    private var waiting = MarkedCircularBuffer<Write>(initialCapacity: 4)
    /// Promises of what was handed over, and where in the stream each is kept.
    private var promises = CircularBuffer<(end: UInt64, promise: EventLoopPromise<Void>)>(initialCapacity: 4)
    /// Bytes ever handed over.
    private var handed: UInt64 = 0
    /// Bytes that the kernel has ever taken.
    private var sent: UInt64 = 0
    /// Bytes written and not taken by the kernel.
    private(set) var bufferedBytes = 0
    var marks = ChannelOptions.Types.WriteBufferWaterMark(low: 32 * 1024, high: 64 * 1024)
    private(set) var isWritable = true
    /// Something could not be handed over: what was written behind it must not be sent.
    private var isBroken = false

    var isEmpty: Bool { waiting.isEmpty && sent == handed && promises.isEmpty }
    /// Whether something was flushed that has not been handed over.
    var isFlushPending: Bool { waiting.hasMark && !isBroken }
    /// Whether the kernel has taken all that was handed over.
    var isAllSent: Bool { sent == handed }

    /// Returns false when this has made it unwritable.
    mutating func append(_ data: IOData, _ promise: EventLoopPromise<Void>?) -> Bool {
        waiting.append(Write(data: data, promise: promise))
        bufferedBytes += data.readableBytes
        guard isWritable, bufferedBytes > marks.high else { return true }
        isWritable = false
        return false
    }

    /// What is written by now is to be sent.
    mutating func flush() { waiting.mark() }

    /// The next of what was flushed, for the caller to hand over.
    mutating func handOver() -> IOData? {
        guard isFlushPending, let write = waiting.popFirst() else { return nil }
        handed += UInt64(write.data.readableBytes)
        if let promise = write.promise { promises.append((handed, promise)) }
        return write.data
    }

    /// The kernel has taken so many bytes of all that was ever handed over. Returns how many of them are new.
    mutating func sent(_ total: UInt64) -> Int {
        assert(total >= sent && total <= handed, "bytes were sent that nobody handed over")
        let count = Int(total - sent)
        bufferedBytes -= count
        sent = total
        return count
    }

    /// The next promise that is kept.
    mutating func takeKept() -> EventLoopPromise<Void>? {
        guard let first = promises.first, first.end <= sent else { return nil }
        return promises.removeFirst().promise
    }

    /// Returns true when it has become writable again.
    mutating func becameWritable() -> Bool {
        guard !isWritable, bufferedBytes < marks.low else { return false }
        isWritable = true
        return true
    }

    /// What was handed over last cannot be sent: nothing else is handed over.
    mutating func breakOff() { isBroken = true }

    /// Drops everything. Returns the promises, which cannot be kept, in the order of the writes.
    mutating func dropAll() -> [EventLoopPromise<Void>] {
        var dropped = promises.map(\.promise)
        promises.removeAll()
        while let write = waiting.popFirst() {
            if let promise = write.promise { dropped.append(promise) }
        }
        return dropped
    }
}
