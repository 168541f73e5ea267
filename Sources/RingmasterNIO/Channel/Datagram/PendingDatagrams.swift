import NIOCore

/// What a datagram channel was given to write, in order: first what the socket below has been handed, then what was only
/// written.
struct PendingDatagrams {
    /// A datagram that was written.
    struct Write {
        var data: ByteBuffer
        /// Nil for the connected peer.
        var address: NIOCore.SocketAddress?
        var metadata: AddressedEnvelope<ByteBuffer>.Metadata?
        var promise: EventLoopPromise<Void>?
    }

    /// What has become of a datagram that is not waiting any more.
    private enum Verdict {
        case none
        case sent
        case failed(any Error)
    }

    private struct Handed {
        var bytes: Int
        var promise: EventLoopPromise<Void>?
        var verdict = Verdict.none
    }

    private var waiting = MarkedCircularBuffer<Write>(initialCapacity: 4)
    private var handed = CircularBuffer<Handed>(initialCapacity: 4)
    /// Bytes written of datagrams whose end is not known.
    private(set) var bufferedBytes = 0
    var marks = ChannelOptions.Types.WriteBufferWaterMark(low: 32 * 1024, high: 64 * 1024)
    private(set) var isWritable = true

    /// Returns false when this has made it unwritable.
    mutating func append(_ write: Write) -> Bool {
        waiting.append(write)
        bufferedBytes += write.data.readableBytes
        guard isWritable, bufferedBytes > marks.high else { return true }
        isWritable = false
        return false
    }

    /// What is written by now is to be sent.
    mutating func flush() { waiting.mark() }

    /// The next of what was flushed, for the caller to hand over.
    var next: Write? { waiting.hasMark ? waiting.first : nil }

    /// The next of what was flushed has been handed over.
    mutating func handedOver() {
        let write = waiting.removeFirst()
        handed.append(Handed(bytes: write.data.readableBytes, promise: write.promise))
    }

    /// The oldest `count` datagrams handed over whose end was not known have been sent, or have failed.
    mutating func settle(_ count: Int, _ error: (any Error)?) {
        var left = count
        for index in handed.indices where left > 0 {
            guard case .none = handed[index].verdict else { continue }
            handed[index].verdict = error.map { .failed($0) } ?? .sent
            bufferedBytes -= handed[index].bytes
            left -= 1
        }
        assert(left == 0, "more datagrams were sent than were handed over")
    }

    /// What was not handed over has failed. Its promises are told of in their turn.
    mutating func failWaiting(_ error: any Error) {
        while let write = waiting.popFirst() {
            bufferedBytes -= write.data.readableBytes
            handed.append(
                Handed(bytes: write.data.readableBytes, promise: write.promise, verdict: .failed(error)))
        }
    }

    /// Keeps the promise of the oldest datagram, or breaks it. False when its end is not known, or there is none. Calls out.
    static func tellOldest(_ pending: UnsafeMutablePointer<PendingDatagrams>) -> Bool {
        guard let first = pending.pointee.handed.first else { return false }
        switch first.verdict {
        case .none:
            return false
        case .sent:
            pending.pointee.handed.removeFirst()
            first.promise?.succeed(())
        case .failed(let error):
            pending.pointee.handed.removeFirst()
            first.promise?.fail(error)
        }
        return true
    }

    /// Returns true when it has become writable again.
    mutating func becameWritable() -> Bool {
        guard !isWritable, bufferedBytes < marks.low else { return false }
        isWritable = true
        return true
    }
}
